//! The controller: custom resources become schemas, logins, Secrets and running ingest pods.
//!
//! `observe → plan → apply`: a pass looks at an object and at what it owns, a pure function says which steps are
//! missing, and each step is done by itself. One process leads, by a Lease; its epoch goes with every Postgres
//! statement. Called by `main` alone.

mod cluster;
mod config;
pub(crate) mod databases;
mod engine;
mod jobs;
pub(crate) mod kinds;
pub(crate) mod objects;

use std::{sync::Arc, time::Duration};

use kube::Client;
use prometheus::Registry;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    cluster::{
        client::{self, Fence},
        leader::{LeaderError, Leadership, campaign},
    },
    databases::{
        DatabaseOwner, DatabaseState, Databases, Keeper, Keeping, Servers,
        tombstones::{self, Tombstones},
    },
    engine::{
        controller::{self, Controller},
        job::Jobs,
        metrics::Metrics,
        queue::{Echoes, Queue},
    },
    jobs::{Asking, DeadKeys, Floods, Retention, SettleTombstones, Turns, Waking},
    kinds::{
        Caches, Context, KeyMetrics, LARGE_OBJECTS, PodLists, Reconciled, Reloads, Tellings,
        project::{self, ProjectMetrics},
    },
    objects::{ChildWriter, EventRecorder, StatusWriter, namespaces::NamespaceLabels},
};
pub use self::{config::Config, kinds::project::ingest_settings};
use crate::{
    crd::{ClientKey, ErrorTrackingProject},
    server::probes,
    telemetry::{
        Liveness, Readiness,
        build_info::{self, Component},
    },
};

/// What passes under way get to finish after SIGTERM: somebody else leads within two seconds.
const DRAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether everything has had its first pass.
const SYNC_LOOK: Duration = Duration::from_millis(200);

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

/// What `/metrics` tells: what happens here, and what is known of the projects.
struct Told {
    metrics: Metrics,
    projects: ProjectMetrics,
    keys: KeyMetrics,
}

impl Told {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        build_info::register(registry, Component::Operator)?;
        Ok(Self {
            metrics: Metrics::register(registry)?,
            projects: ProjectMetrics::register(registry)?,
            keys: KeyMetrics::register(registry)?,
        })
    }
}

/// Runs until `shutdown`: stands by, leads, and hands the lease over. Who loses the lease stands by again.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let registry = Registry::new();
    let told = Told::register(&registry)?;
    let metrics = &told.metrics;
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
            match lead(worker.clone(), &config, leadership, &told, readiness.liveness(), &shutdown).await {
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
    told: &Told,
    liveness: &Liveness,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let metrics = &told.metrics;
    let leader = metrics.leader.with_label_values(&[&config.lease_name]);
    leader.set(1);
    let (epoch, epochs) = watch::channel(leadership.epoch());
    let (raise, raises) = mpsc::channel(1);
    // The lease is given up last, when no pass can write any more.
    let release = CancellationToken::new();
    let keeping = leadership.keep(release.clone(), raises, epoch);
    tokio::pin!(keeping);

    let stop = shutdown.child_token();
    let working = work(client, config, told, liveness, epochs, raise, stop);
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
    told: &Told,
    liveness: &Liveness,
    epochs: watch::Receiver<i64>,
    raise: mpsc::Sender<i64>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (metrics, projects) = (told.metrics.clone(), told.projects.clone());
    let echoes = Echoes::default();
    let caches = Caches::new(|name| Queue::new(echoes.clone(), metrics.queue(name)));
    // Dropped when this function ends, and every task with it.
    let mut tasks = JoinSet::new();
    caches.start(&mut tasks, &client, &config.namespaces, &metrics, liveness);
    let (state, states) = watch::channel(DatabaseState::Connecting);
    let keeper = Keeper {
        client: client.clone(),
        secrets: config.secrets(),
        owner: DatabaseOwner::Installation,
        metrics: metrics.clone(),
        changed: Arc::default(),
    };
    tasks.spawn(databases::keep(keeper.clone(), epochs.clone(), raise.clone(), state, stop.clone()));

    let (events, waiting) = EventRecorder::new();
    tasks.spawn(waiting.publish(client.clone()));
    let tombstones = Tombstones::new(
        client.clone(),
        &config.namespace,
        tombstones::config_map_name(&config.lease_name),
        metrics.clone(),
        events.clone(),
    );
    let servers = Servers::new(client.clone(), config.backends.clone());
    let context = Arc::new(Context {
        children: ChildWriter::new(client.clone(), echoes.clone()),
        statuses: StatusWriter::new(client.clone(), echoes, events.clone()),
        pod_lists: PodLists::new(client.clone()),
        tellings: Tellings::default(),
        restarts: config.restart_workloads,
        runner_bindings: config.runner_bindings,
        reloads: Reloads::default(),
        namespaces: NamespaceLabels::new(client.clone()),
        client,
        caches: caches.clone(),
        events,
        databases: Databases::new(states, servers.clone()),
        tombstones,
        metrics: metrics.clone(),
        image: config.image(),
        pods: config.pods.clone(),
        console_url: config.console_url.clone(),
        limits: config.limits,
        keys: config.keys.clone(),
        login_lifetime: config.ingest_login_lifetime,
        rollouts: project::Rollouts::default(),
        large_objects: Semaphore::new(LARGE_OBJECTS),
        asked: project::AskedSettings::default(),
    });
    tokio::select! {
        () = caches.ready() => {}
        () = stop.cancelled() => return Ok(()),
    }
    // What the database says decides about every object: a pass without it would take back what was said before.
    let mut connected = context.databases.own_changes();
    tokio::select! {
        _ = connected.wait_for(|state| !matches!(state, DatabaseState::Connecting)) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let _leading =
        (projects.lead(caches.of::<ErrorTrackingProject>().cache), told.keys.lead(caches.of::<ClientKey>().cache));
    let objects = caches.seed();
    info!(objects, "Caches are filled; reconciling.");
    let dependents = Arc::new(caches.clone());
    let (hosts, namespaces) = (config.hosts.clone(), config.namespaces.clone());
    let keeping = Keeping { keeper, hosts, servers, namespaces, epochs, raise, dependents, liveness: liveness.clone() };
    tasks.spawn(context.databases.projects.clone().keep(keeping));
    tasks.spawn(report_synced(caches.clone(), metrics.clone()));
    let mut jobs = Jobs::new(metrics);
    jobs.start(Waking::new(context.databases.own_changes(), caches.clone()));
    jobs.start(Turns(context.clone()));
    jobs.start(SettleTombstones::new(context.clone(), context.databases.own_changes()));
    jobs.start(Asking::<DeadKeys>::new(context.clone()));
    jobs.start(Asking::<Floods>::new(context.clone()));
    jobs.start(Retention { context: context.clone(), metrics: projects });

    let mut controllers = JoinSet::new();
    for Reconciled { kind, queue, .. } in caches.kinds() {
        let kind = *kind;
        let controller = Controller {
            name: kind.controller,
            queue: queue.clone(),
            concurrency: config.concurrency,
            metrics: context.metrics.clone(),
            liveness: liveness.clone(),
        };
        let context = context.clone();
        controllers.spawn(controller::run(controller, stop.clone(), move |name| (kind.reconcile)(name, &context)));
    }
    tokio::select! {
        _ = controllers.join_next() => if !stop.is_cancelled() { return Err(Error::Ended("a controller")); },
        () = jobs.ended() => if !stop.is_cancelled() { return Err(Error::Ended("a job")); },
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
async fn report_synced(caches: Caches, metrics: Metrics) {
    let mut looks = interval(SYNC_LOOK);
    while !caches.started() {
        looks.tick().await;
    }
    metrics.synced.set(1);
    info!("Everything has been looked at once.");
    std::future::pending::<()>().await;
}
