//! Starts the parts of an ingest process, and ends them in the order that loses no acknowledged event.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    body::BodyReader,
    config::Config,
    connections::Connections,
    database::Database,
    heartbeat::Heartbeat,
    keys::Keys,
    limits::Limits,
    metrics::Metrics,
    pipeline,
    routes::routes,
    submission::{Ingest, LargeBodies},
    writer::{WRITERS, Writer},
};
use crate::{
    store::connection::ConnectionError,
    telemetry::{Readiness, probes},
};

/// For the last commit, the last heartbeat and the end of the connections to Postgres.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why an ingest process cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the database Secret: {0}")]
    Database(#[from] ConnectionError),
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Probes(#[from] probes::Error),
    #[error("failed to register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the {0} stopped unexpectedly")]
    Stopped(&'static str),
}

/// Serves until `shutdown`, then drains.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    Server::bind(config).await?.run(shutdown).await
}

/// An ingest process that listens and does not answer yet.
pub struct Server {
    config: Config,
    database: Database,
    registry: Registry,
    metrics: Metrics,
    listener: TcpListener,
    probes: TcpListener,
    address: SocketAddr,
    probe_address: SocketAddr,
}

impl Server {
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry)?;
        let database = Database::open(config.database.clone()).await?;
        let listen = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let probes = probes::bind(config.probe_address).await?;
        let address = listener.local_addr().map_err(listen)?;
        let probe_address =
            probes.local_addr().map_err(|source| Error::Listen { address: config.probe_address, source })?;
        Ok(Self { config, database, registry, metrics, listener, probes, address, probe_address })
    }

    /// Where it listens for clients; tells the port when port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn probe_address(&self) -> SocketAddr {
        self.probe_address
    }

    /// Serves until `shutdown`. Then, in this order: not ready; still accepts while endpoints forget the
    /// pod; sends clients away; commits what was accepted; tells the store the last counts.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, database, registry, metrics, listener, probes, address, .. } = self;
        info!(%address, project = %config.project_id, "Receiving events.");
        let readiness = Readiness::default();
        let (pipeline, queue) = pipeline::open(metrics.queued_events.clone());
        let heartbeat = Heartbeat {
            project: config.project_id,
            instance: config.instance.as_str().into(),
            database: database.clone(),
            keys: Arc::new(Keys::new(config.project_id)),
            metrics: metrics.clone(),
        };
        let limits = Arc::<Limits>::default();
        let ingest = Ingest {
            project: config.project_id,
            keys: Arc::clone(&heartbeat.keys),
            limits: Arc::clone(&limits),
            database: database.clone(),
            pipeline: pipeline.clone(),
            metrics: metrics.clone(),
            bodies: BodyReader::default(),
            strangers: BodyReader::for_strangers(),
            large_bodies: LargeBodies::default(),
        };

        let mut writers = JoinSet::new();
        let streams: Arc<[Uuid]> = (0..WRITERS).map(|_| Uuid::new_v4()).collect();
        for stream in &*streams {
            let writer = Writer {
                queue: queue.clone(),
                database: database.clone(),
                project: config.project_id,
                keys: Arc::clone(&heartbeat.keys),
                limits: Arc::clone(&limits),
                metrics: metrics.clone(),
                stream: *stream,
                streams: Arc::clone(&streams),
                sequence: 0,
            };
            writers.spawn(writer.run());
        }
        drop(queue);
        let stop = CancellationToken::new();
        let mut background = JoinSet::new();
        background.spawn(database.clone().follow(stop.clone()));
        background.spawn(heartbeat.clone().follow_keys(readiness.clone(), shutdown.clone(), stop.clone()));
        background.spawn(heartbeat.clone().run(stop.clone()));
        let all_counted = CancellationToken::new();
        let counting = Heartbeat::tell_outcomes(metrics.outcomes.clone(), pipeline, all_counted.clone());
        let mut counting = JoinSet::from_iter([counting]);
        let mut probing = JoinSet::new();
        probing.spawn(probes::serve_on(probes, stop.clone(), readiness.clone(), registry));

        let mut connections = Connections::new(listener, routes(ingest), metrics.connections.clone());
        // A part that is gone cannot be done without: the pod ends, and is started again.
        let broken = tokio::select! {
            () = connections.serve(&shutdown) => None,
            _ = writers.join_next() => Some("writer"),
            _ = background.join_next() => Some("background task"),
            _ = counting.join_next() => Some("count of outcomes"),
            _ = probing.join_next() => Some("probe server"),
        };

        readiness.set(false);
        if let Some(part) = broken {
            error!(part, "A part of the process stopped.");
        } else {
            info!(delay = ?config.drain_delay, "Draining.");
            let delay = CancellationToken::new();
            let _delayed = tokio::time::timeout(config.drain_delay, connections.serve(&delay)).await;
        }
        let deadline = Instant::now() + config.drain_timeout;
        connections.drain(deadline).await;
        // All requests are gone, and after the last counts all senders of the queue: the writers finish and end.
        all_counted.cancel();
        if timeout_at(deadline + LAST_WORDS, async { while counting.join_next().await.is_some() {} }).await.is_err() {
            warn!("The last counts of what was dropped could not be told.");
        }
        counting.shutdown().await;
        if timeout_at(deadline + LAST_WORDS, async { while writers.join_next().await.is_some() {} }).await.is_err() {
            warn!("Accepted events were still waiting at the end.");
        }
        heartbeat.tell_or_warn().await;
        stop.cancel();
        let ended = async { while background.join_next().await.is_some() {} };
        let _in_time = timeout_at(Instant::now() + LAST_WORDS, ended).await;
        database.close().await;
        info!("Ended.");
        broken.map_or(Ok(()), |part| Err(Error::Stopped(part)))
    }
}
