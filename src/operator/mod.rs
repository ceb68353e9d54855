//! The controller: custom resources become schemas, logins, Secrets and running ingest pods.
//!
//! `observe → plan → apply`: a pass looks at an object and at what it owns, a pure function says which steps are
//! missing, and each step is done by itself. One process leads, by a Lease; its epoch goes with every Postgres
//! statement. Called by `main` alone.

mod apply;
mod cache;
mod child;
mod client;
mod client_key;
pub mod commands;
mod context;
mod controller;
mod database;
mod databases;
mod failure;
mod fault;
mod guards;
#[cfg(test)]
mod health_states;
mod leader;
mod limits;
mod metrics;
mod packing;
mod pass;
mod project;
mod queue;
mod tombstones;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use prometheus::Registry;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::project::ingest_settings;
use self::{
    client::Fence,
    context::{Context, Parts},
    database::{Keeper, Of, Secrets, State},
    databases::Surroundings,
    guards::Guards,
    leader::{LeaderError, Leadership, campaign},
    metrics::Metrics,
    queue::{Echoes, Queue, Urgency},
    tombstones::Tombstones,
    watches::Queues,
};
use crate::{
    crd::ErrorTrackingProject,
    telemetry::{Liveness, Readiness, probes},
};

/// How often expired events are removed.
const RETENTION_INTERVAL: Duration = Duration::from_hours(1);
/// Longest work on the expired events of one project; what is left is removed the next time.
const EXPIRE_LIMIT: Duration = Duration::from_mins(5);
/// How often tombstones are looked at.
const TOMBSTONE_INTERVAL: Duration = Duration::from_secs(15);
/// What passes under way get to finish after SIGTERM: somebody else leads within two seconds.
const DRAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether everything has had its first pass.
const SYNC_LOOK: Duration = Duration::from_millis(200);

/// Settings of the operator.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    /// Name of this pod: who holds the lease.
    #[arg(long, env = "POD_NAME")]
    pod_name: String,
    /// Image of the ingest pods: the one that this process runs from.
    #[arg(long, env = "INGEST_IMAGE")]
    image: String,
    #[arg(long, env = "INGEST_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    image_pull_policy: String,
    /// Secret with the keys host, port, dbname, username and password, or uri.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    database_secret: String,
    /// Host of an evaluation Postgres: its Secret is made with a new password when it is absent.
    #[arg(long, env = "ERROR_TRACKING_CREATE_DATABASE_SECRET_FOR")]
    create_database_secret_for: Option<String>,
    /// Secret that is made for the console's read-only login.
    #[arg(long, env = "ERROR_TRACKING_CONSOLE_SECRET", default_value = "error-tracking-console-database")]
    console_secret: String,
    #[arg(long, env = "ERROR_TRACKING_LEASE_NAME", default_value = "error-tracking-operator")]
    lease_name: String,
    /// Where probes and metrics are served.
    #[arg(long, env = "ERROR_TRACKING_PROBE_ADDRESS", default_value = "0.0.0.0:8081")]
    probe_address: SocketAddr,
    /// Passes under way at once, for each kind.
    #[arg(long, env = "ERROR_TRACKING_CONCURRENCY", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    #[command(flatten)]
    guards: Guards,
}

/// The operator could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to find the Kubernetes API: {0}")]
    Kubernetes(#[source] Box<kube::Error>),
    #[error("failed to register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("failed to serve probes: {0}")]
    Probes(#[from] probes::Error),
    /// Another process may lead now: this one must not write any more.
    #[error("lost the lease: {0}")]
    LeaseLost(#[from] LeaderError),
    #[error("{0} ended")]
    Ended(&'static str),
}

/// Runs until `shutdown`: stands by, leads, and hands the lease over. Who loses the lease stands by again.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;
    let failed = |error| Error::Kubernetes(Box::new(error));
    let fence = Fence::default();
    let campaigner = client::connect(&metrics.requests, None).await.map_err(failed)?;
    let worker = client::connect(&metrics.requests, Some(fence.clone())).await.map_err(failed)?;
    let readiness = Readiness::default();
    // Probes are answered until the lease is given up.
    let ended = CancellationToken::new();
    let serving = probes::serve(config.probe_address, ended.clone(), readiness.clone(), registry);
    let leading = async {
        // A standby is ready: it can take over at any moment.
        readiness.set(true);
        let (name, identity) = (&config.lease_name, &config.pod_name);
        while let Some(leadership) =
            campaign(campaigner.clone(), &config.namespace, name, identity, &fence, &shutdown).await
        {
            match lead(worker.clone(), &config, leadership, &metrics, readiness.liveness(), &shutdown).await {
                // Everything that this process did as the leader has been dropped: nothing of it can write any more.
                Err(Error::LeaseLost(error)) => warn!(%error, "Not leading any more; standing by."),
                ended => return ended,
            }
        }
        Ok(())
    };
    tokio::select! {
        served = serving => served.map_err(Error::from).and(Err(Error::Ended("the probe server"))),
        led = leading => led,
    }
}

async fn lead(
    client: Client,
    config: &Config,
    leadership: Leadership,
    metrics: &Metrics,
    liveness: &Liveness,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let leader = metrics.leader.with_label_values(&[&config.lease_name]);
    leader.set(1);
    let (epoch, epochs) = watch::channel(leadership.epoch());
    let (raise, raises) = mpsc::channel(1);
    // The lease is given up last, when no pass can write any more.
    let release = CancellationToken::new();
    let keeping = leadership.keep(release.clone(), raises, epoch);
    tokio::pin!(keeping);

    let stop = shutdown.child_token();
    let working = work(client, config, metrics.clone(), liveness, epochs, raise, stop);
    let ended = tokio::select! {
        lost = &mut keeping => lost.map_err(Error::from).and(Err(Error::Ended("the lease"))),
        ended = working => ended,
    };
    leader.set(0);
    metrics.synced.set(0);
    if ended.is_ok() {
        release.cancel();
        keeping.await?;
    }
    ended
}

async fn work(
    client: Client,
    config: &Config,
    metrics: Metrics,
    liveness: &Liveness,
    epochs: watch::Receiver<i64>,
    raise: mpsc::Sender<i64>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let echoes = Echoes::default();
    let queue = |name| Arc::new(Queue::new(echoes.clone(), metrics.queue(name)));
    let queues = Queues { projects: queue("project"), keys: queue("clientkey") };
    // Dropped when this function ends, and every task with it.
    let mut tasks = JoinSet::new();
    let caches = watches::start(&mut tasks, &client, &queues, &metrics, liveness);
    let (state, states) = watch::channel(State::Connecting);
    let secrets = Secrets {
        namespace: config.namespace.clone(),
        lease: config.lease_name.clone(),
        database: config.database_secret.clone(),
        evaluation_host: config.create_database_secret_for.clone(),
        console: config.console_secret.clone(),
        concurrency: config.concurrency,
    };
    let keeper = Keeper {
        client: client.clone(),
        secrets,
        of: Of::Installation,
        metrics: metrics.clone(),
        changed: Arc::default(),
    };
    tasks.spawn(database::keep(keeper.clone(), epochs.clone(), raise.clone(), state, stop.clone()));

    let tombstones = Tombstones::new(
        client.clone(),
        &config.namespace,
        tombstones::config_map_name(&config.lease_name),
        metrics.clone(),
    );
    let (events, told) = mpsc::channel(context::EVENTS);
    tasks.spawn(context::tell_events(client.clone(), told));
    let context = Arc::new(Context::new(Parts {
        client,
        caches: caches.clone(),
        states,
        tombstones,
        metrics: metrics.clone(),
        echoes,
        events,
        config,
    }));
    tokio::select! {
        () = caches.ready() => {}
        () = stop.cancelled() => return Ok(()),
    }
    // What the database says decides about every object: a pass without it would take back what was said before.
    let mut connected = context.database_states();
    tokio::select! {
        _ = connected.wait_for(|state| !matches!(state, State::Connecting)) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let (projects, keys) = (caches.projects.cache.names(), caches.keys.cache.names());
    info!(projects = projects.len(), keys = keys.len(), "Caches are filled; reconciling.");
    queues.projects.seed(&projects);
    queues.keys.seed(&keys);
    let guards = config.guards.clone();
    let around = Surroundings { keeper, guards, epochs, raise, caches: caches.clone(), queues: queues.clone() };
    tasks.spawn(context.databases.clone().keep(around));
    tasks.spawn(tell_when_synced(queues.clone(), metrics));
    tasks.spawn(wake_all(context.clone(), queues.clone()));
    tasks.spawn(settle_tombstones(context.clone()));
    tasks.spawn(expire(context.clone()));

    let mut controllers = JoinSet::new();
    controllers.spawn(controller::run(
        "project",
        context.clone(),
        caches.projects,
        queues.projects,
        liveness.clone(),
        stop.clone(),
        project::reconcile,
    ));
    controllers.spawn(controller::run(
        "clientkey",
        context,
        caches.keys,
        queues.keys,
        liveness.clone(),
        stop.clone(),
        client_key::reconcile,
    ));
    tokio::select! {
        _ = controllers.join_next() => if !stop.is_cancelled() { return Err(Error::Ended("a controller")); },
        _ = tasks.join_next() => if !stop.is_cancelled() { return Err(Error::Ended("a watch")); },
        () = stop.cancelled() => {}
    }
    tokio::select! {
        () = async { while controllers.join_next().await.is_some() {} } => {}
        () = sleep(DRAIN) => warn!("Passes under way were cut off; the next leader repeats them."),
    }
    Ok(())
}

/// Everything that was there at the start has had a pass.
async fn tell_when_synced(queues: Queues, metrics: Metrics) {
    let mut looks = interval(SYNC_LOOK);
    while !(queues.projects.started() && queues.keys.started()) {
        looks.tick().await;
    }
    metrics.synced.set(1);
    info!("Everything has been looked at once.");
    std::future::pending::<()>().await;
}

/// Asks for a pass over everything when Postgres is there again, away or another one.
async fn wake_all(context: Arc<Context>, queues: Queues) {
    let mut states = context.database_states();
    let mut known = states.borrow_and_update().said();
    while states.changed().await.is_ok() {
        let now = states.borrow_and_update().said();
        if now == known {
            continue;
        }
        known = now;
        for (queue, names) in [
            (&queues.projects, context.caches.projects.cache.names()),
            (&queues.keys, context.caches.keys.cache.names()),
        ] {
            for name in names {
                queue.push(&name, Urgency::Routine);
            }
        }
    }
}

async fn settle_tombstones(context: Arc<Context>) {
    let mut ticks = interval(TOMBSTONE_INTERVAL);
    loop {
        ticks.tick().await;
        if let State::Ready(_) = context.database()
            && let Err(error) = context.tombstones.settle_all(&context).await
        {
            error!(%error, "Could not settle what deleted objects left.");
        }
    }
}

/// Removes what is older than each project's retention, one project after the other.
async fn expire(context: Arc<Context>) {
    let mut ticks = interval(RETENTION_INTERVAL);
    loop {
        ticks.tick().await;
        for project in context.caches.projects.state() {
            let Ok(project) = &project.0 else { continue };
            // One server that does not answer must not keep what expires in others.
            if timeout(EXPIRE_LIMIT, expire_of(&context, project)).await.is_err() {
                warn!(
                    namespace = project.metadata.namespace,
                    project = project.metadata.name,
                    "Removing expired events takes too long; it goes on in an hour."
                );
            }
        }
    }
}

async fn expire_of(context: &Context, project: &ErrorTrackingProject) {
    let State::Ready(database) = context.database_of(project) else { return };
    let retention = project.spec.backend.integrated.as_ref().map(|integrated| integrated.retention_days);
    let uid = project.metadata.uid.as_deref().unwrap_or_default();
    let (Some(retention), Ok(Some(state))) = (retention, database.admin.observe_object(uid).await) else { return };
    match database.admin.drop_expired(state.project_id, retention.unsigned_abs(), Timestamp::now()).await {
        Ok(expired) if expired.events > 0 || expired.partitions > 0 => {
            info!(project = %state.project_id, ?expired, "Removed events past their retention.");
        }
        Ok(_) => {}
        Err(error) => warn!(project = %state.project_id, %error, "Could not remove events past their retention."),
    }
}
