//! The controller: custom resources become schemas, logins, Secrets and running ingest pods.
//!
//! `observe → plan → apply`: a pass looks at an object and at what it owns, a pure function says which steps are
//! missing, and each step is done by itself. One process leads, by a Lease; its epoch goes with every Postgres
//! statement. Called by `main` alone.

mod apply;
mod child;
mod client_key;
pub mod commands;
mod context;
mod controller;
mod database;
mod databases;
mod failure;
mod fault;
mod guards;
mod leader;
mod metrics;
mod pass;
mod project;
mod tombstones;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use prometheus::Registry;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    context::Context,
    database::{Keeper, Of, Secrets, State},
    databases::Surroundings,
    guards::Guards,
    leader::{LeaderError, Leadership, campaign},
    metrics::Metrics,
    project::IngestImage,
    tombstones::Tombstones,
    watches::{Queue, Queues},
};
use crate::telemetry::{Readiness, probes};

/// How often expired events are removed.
const RETENTION_INTERVAL: Duration = Duration::from_hours(1);
/// How often tombstones are looked at.
const TOMBSTONE_INTERVAL: Duration = Duration::from_secs(15);
/// What passes under way get to finish after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);

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

/// Runs until `shutdown`: stands by, leads, and hands the lease over.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let client = Client::try_default().await.map_err(|error| Error::Kubernetes(Box::new(error)))?;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;
    let readiness = Readiness::default();
    // Probes are answered until the lease is given up.
    let ended = CancellationToken::new();
    let serving = probes::serve(config.probe_address, ended.clone(), readiness.clone(), registry);
    let leading = async {
        // A standby is ready: it can take over at any moment.
        readiness.set(true);
        let leadership =
            campaign(client.clone(), &config.namespace, &config.lease_name, &config.pod_name, &shutdown).await;
        match leadership {
            Some(leadership) => lead(client, &config, leadership, metrics, &shutdown).await,
            None => Ok(()),
        }
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
    metrics: Metrics,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    metrics.leader.set(1);
    let (epoch, epochs) = watch::channel(leadership.epoch());
    let (raise, raises) = mpsc::channel(1);
    // The lease is given up last, when no pass can write any more.
    let release = CancellationToken::new();
    let keeping = leadership.keep(release.clone(), raises, epoch);
    tokio::pin!(keeping);

    let stop = shutdown.child_token();
    let working = work(client, config, metrics.clone(), epochs, raise, stop);
    let ended = tokio::select! {
        lost = &mut keeping => lost.map_err(Error::from).and(Err(Error::Ended("the lease"))),
        ended = working => ended,
    };
    metrics.leader.set(0);
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
    epochs: watch::Receiver<i64>,
    raise: mpsc::Sender<i64>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (projects, project_requests) = Queue::new();
    let (keys, key_requests) = Queue::new();
    let queues = Queues { projects, keys };
    // Dropped when this function ends, and every task with it.
    let mut tasks = JoinSet::new();
    let relisted = Arc::new(Notify::new());
    let caches = watches::start(&mut tasks, &client, &queues, &relisted, &metrics);
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
    let image = IngestImage { image: config.image.clone(), pull_policy: config.image_pull_policy.clone() };
    let context = Arc::new(Context::new(client, caches.clone(), states, tombstones, image, metrics, config));
    tokio::select! {
        synced = caches.ready() => if !synced { return Err(Error::Ended("a watch")); },
        () = stop.cancelled() => return Ok(()),
    }
    // What the database says decides about every object: a pass without it would take back what was said before.
    let mut connected = context.database_states();
    tokio::select! {
        _ = connected.wait_for(|state| !matches!(state, State::Connecting)) => {}
        () = stop.cancelled() => return Ok(()),
    }
    info!("Caches are filled; reconciling.");
    let guards = config.guards.clone();
    let around = Surroundings { keeper, guards, epochs, raise, caches: caches.clone(), queues: queues.clone() };
    tasks.spawn(context.databases.clone().keep(around));
    tasks.spawn(wake_all(context.clone(), queues.clone(), relisted));
    tasks.spawn(settle_tombstones(context.clone()));
    tasks.spawn(expire(context.clone()));

    let mut controllers = JoinSet::new();
    controllers.spawn(controller::run(
        "project",
        context.clone(),
        caches.projects,
        project_requests,
        stop.clone(),
        project::reconcile,
    ));
    controllers.spawn(controller::run(
        "clientkey",
        context,
        caches.keys,
        key_requests,
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

/// Asks for a pass over everything: at the start, when Postgres is there again, away or another one, and when a
/// watch began anew.
async fn wake_all(context: Arc<Context>, queues: Queues, relisted: Arc<Notify>) {
    let mut states = context.database_states();
    let said = |state: &State| match state {
        State::Connecting => String::new(),
        State::Ready(database) => database.server.clone(),
        State::Unavailable { message, .. } => message.clone(),
    };
    let mut known = said(&states.borrow_and_update());
    loop {
        for project in context.caches.projects.state() {
            let (namespace, name) = context::identity(&*project);
            queues.projects.push(&namespace, &name, "database changed").await;
        }
        for key in context.caches.keys.state() {
            let (namespace, name) = context::identity(&*key);
            queues.keys.push(&namespace, &name, "database changed").await;
        }
        loop {
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return; },
                () = relisted.notified() => break,
            }
            let now = said(&states.borrow_and_update());
            if now != known {
                known = now;
                break;
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
            let State::Ready(database) = context.database_of(project) else { continue };
            let retention = project.spec.backend.integrated.as_ref().map(|integrated| integrated.retention_days);
            let uid = project.metadata.uid.as_deref().unwrap_or_default();
            let (Some(retention), Ok(Some(state))) = (retention, database.admin.observe_object(uid).await) else {
                continue;
            };
            match database.admin.drop_expired(state.project_id, retention.unsigned_abs(), Timestamp::now()).await {
                Ok(expired) if expired.events > 0 || expired.partitions > 0 => {
                    info!(project = %state.project_id, ?expired, "Removed events past their retention.");
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(project = %state.project_id, %error, "Could not remove events past their retention.");
                }
            }
        }
    }
}
