//! Starts the parts of an ingest process, and ends them in the order that loses no acknowledged event.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span};

use super::{
    body::BodyReader,
    config::Config,
    database::Database,
    durable::Postgres,
    groupings::Groupings,
    heartbeat::{self, Heartbeat},
    large_bodies::LargeBodies,
    limits::Limits,
    metrics::Metrics,
    pipeline::{self, Queue},
    record::Streams,
    routes::routes,
    submission::Ingest,
    writer::{WRITERS, Writer},
};
use crate::{
    server::{self, Connections, Shutdown, Versions, WhenFull, probes},
    store::{MountedPool, connection::ConnectionError},
    telemetry::Readiness,
};

/// Idle connections end for new ones. How much memory all this may take is counted with the bodies, in `large_bodies`.
pub const LIMITS: server::Limits = server::Limits {
    connections: 1024,
    when_full: WhenFull::Wait,
    head_timeout: Duration::from_secs(30),
    large_heads: 8,
    // Python's transport uses HTTP/2, through a proxy: each proxy has a few connections for all its clients.
    versions: Versions::Http1And2 {
        connections: 24,
        streams: 64,
        more_requests: 128,
        max_age: Duration::from_mins(10),
    },
};

/// While draining, how long every answer tells its client to leave before connections that rest are closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// For the last counts to be queued and committed.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// For what waits although its request is gone: longer than an event may wait for its commit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// For the loops in the background to notice that they are over.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(5);

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
        let database = Database::open(config.database.clone())?;
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

    /// Serves until `shutdown`. Then it ends and loses no acknowledged event: endpoints forget the pod, clients are
    /// sent away, what was accepted is committed, and the store is told the rest.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, database, registry, metrics, listener, probes, address, .. } = self;
        info!(%address, project = %config.project_id, "Receiving events.");
        let heartbeat = Heartbeat::new(config.project_id, &config.instance, database, metrics.clone());
        let readiness = Readiness::default();
        let (mut parts, ingest) = Parts::start(heartbeat, readiness.clone(), &shutdown);
        let probes = probes::serve_on(probes, parts.stop.clone(), readiness.clone(), registry);
        parts.probes.spawn(probes);
        let mut connections =
            Connections::new(listener, warp::service(routes(ingest)), LIMITS).counted_by(metrics.connections);
        // A part that is gone cannot be done without: the pod ends, and is started again.
        let broken = tokio::select! {
            () = connections.serve(&shutdown) => None,
            part = parts.broken() => Some(part),
        };

        let mut ending = Shutdown::begin();
        readiness.set(false);
        if let Some(part) = broken {
            error!(part, "A part of the process stopped.");
        } else {
            ending.linger("pause", config.drain_delay, connections.serve(&CancellationToken::new())).await;
        }
        ending.linger("farewell", FAREWELL.min(config.drain_timeout), connections.send_away()).await;
        ending.finish("drain", config.drain_timeout.saturating_sub(FAREWELL), connections.drain()).await;
        parts.end(&mut ending, broken.is_none()).await;
        ending.end();
        broken.map_or(Ok(()), |part| Err(Error::Stopped(part)))
    }
}

/// What runs beside the connections.
struct Parts {
    writers: JoinSet<()>,
    counting: JoinSet<()>,
    /// No request can drop anything any more: the last counts may be sent.
    all_counted: CancellationToken,
    /// Tells the store, until [`Self::all_written`].
    reporting: JoinSet<()>,
    all_written: CancellationToken,
    background: JoinSet<()>,
    probes: JoinSet<Result<(), probes::Error>>,
    /// Ends the background and the probes.
    stop: CancellationToken,
    heartbeat: Heartbeat,
}

impl Parts {
    /// Everything but the probes, and what the requests share.
    fn start(heartbeat: Heartbeat, readiness: Readiness, shutdown: &CancellationToken) -> (Self, Ingest) {
        let Heartbeat { database, metrics, .. } = &heartbeat;
        let (pipeline, queue) = pipeline::open(metrics.queued_events.clone());
        let limits = Arc::<Limits>::default();
        let groupings = Arc::<Groupings>::default();
        let writers = writers(&queue, &heartbeat, &limits, &groupings);
        let [stop, all_counted, all_written] = [(); 3].map(|()| CancellationToken::new());
        let mut background = JoinSet::new();
        let span = info_span!("background", project = heartbeat.project.get());
        background.spawn(database.clone().follow(stop.clone()).instrument(span.clone()));
        let following = heartbeat.clone().follow_keys(readiness, shutdown.clone(), stop.clone());
        background.spawn(following.instrument(span.clone()));
        let reporting = JoinSet::from_iter([heartbeat.clone().run(all_written.clone()).instrument(span)]);
        let counting = Heartbeat::send_outcomes(
            metrics.outcomes.clone(),
            heartbeat.keys.clone(),
            pipeline.clone(),
            all_counted.clone(),
        );
        let counting = JoinSet::from_iter([counting]);
        let ingest = Ingest {
            project: heartbeat.project,
            keys: Arc::clone(&heartbeat.keys),
            refused_keys: Arc::clone(&heartbeat.refused_keys),
            limits,
            groupings,
            database: database.clone(),
            pipeline,
            metrics: metrics.clone(),
            bodies: BodyReader::default(),
            unknown_senders: BodyReader::for_unknown_senders(),
            large_bodies: LargeBodies::default(),
        };
        let probes = JoinSet::new();
        let parts =
            Self { writers, counting, all_counted, reporting, all_written, background, probes, stop, heartbeat };
        (parts, ingest)
    }

    /// Returns when one of them has stopped: its name.
    async fn broken(&mut self) -> &'static str {
        tokio::select! {
            _ = self.writers.join_next() => "writer",
            _ = self.background.join_next() => "background task",
            _ = self.counting.join_next() => "count of outcomes",
            _ = self.reporting.join_next() => "report",
            _ = self.probes.join_next() => "probe server",
        }
    }

    /// Once all connections are gone. `whole`: no part stopped before.
    async fn end(mut self, ending: &mut Shutdown, whole: bool) {
        self.all_counted.cancel();
        ending.finish("count", COUNT_TIMEOUT, all_of(&mut self.counting)).await;
        // With the requests and the counts all senders of the queue are gone: the writers finish and end.
        self.counting.shutdown().await;
        let flushed = ending.finish("flush", FLUSH_TIMEOUT, all_of(&mut self.writers)).await.is_some();
        self.all_written.cancel();
        let last_report = async {
            // One that is under way must not come behind the last one, and take it back.
            all_of(&mut self.reporting).await;
            self.heartbeat.end(whole && flushed).await;
        };
        ending.finish("report", heartbeat::LAST_TIMEOUT, last_report).await;
        self.stop.cancel();
        ending.finish("background", BACKGROUND_TIMEOUT, all_of(&mut self.background)).await;
        ending.finish("disconnect", MountedPool::CLOSE_TIMEOUT, self.heartbeat.database.close()).await;
    }
}

fn writers(queue: &Queue, heartbeat: &Heartbeat, limits: &Arc<Limits>, groupings: &Arc<Groupings>) -> JoinSet<()> {
    let streams = Streams::default();
    let durable = Postgres {
        database: heartbeat.database.clone(),
        project: heartbeat.project,
        keys: Arc::clone(&heartbeat.keys),
        limits: Arc::clone(limits),
        groupings: Arc::clone(groupings),
        metrics: heartbeat.metrics.clone(),
        streams: streams.clone(),
    };
    let marks: Vec<_> = (0..WRITERS).map(|_| streams.open()).collect();
    let writer =
        |marks| Writer { queue: queue.clone(), durable: durable.clone(), marks, metrics: heartbeat.metrics.clone() };
    marks.into_iter().map(|marks| writer(marks).run()).collect()
}

async fn all_of(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `terminationGracePeriodSeconds` of the pods.
    const GRACE: Duration = Duration::from_mins(1);

    #[test]
    fn all_stages_fit_into_the_grace_period_of_the_pod() {
        let config = super::super::config::tests::config();
        let stages = [
            config.drain_delay,
            config.drain_timeout,
            COUNT_TIMEOUT,
            FLUSH_TIMEOUT,
            heartbeat::LAST_TIMEOUT,
            BACKGROUND_TIMEOUT,
            MountedPool::CLOSE_TIMEOUT,
        ];
        let sum = stages.iter().sum::<Duration>();
        assert!(sum < GRACE, "{sum:?}");
        assert!(FLUSH_TIMEOUT > pipeline::COMMIT_DEADLINE);
    }
}
