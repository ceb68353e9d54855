//! The databases that projects name with a Secret of their own: one connection for each Secret, made when a project
//! asks for it and closed when none does any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    database::DatabaseState,
    hosts::AllowedHosts,
    keeper::{self, DatabaseOwner, Headroom, Keeper},
    servers::Servers,
};
use crate::{
    kubernetes::{
        Namespaces,
        pages::{Contents, identity},
    },
    operator::cluster::{cache::Change, watch::Watch},
    telemetry::Liveness,
};

/// A Secret with this label is read as soon as it changes; the others every few minutes.
const WATCHED: &str = "errortracking.dev/watch=true";
/// How often databases are closed that no project names any more.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a database is kept after a request when no project names it, as for a tombstone.
const KEPT: Duration = Duration::from_mins(1);

/// Namespace and name of a Secret.
pub type SecretName = (String, String);

/// States by Secret. Clones share them.
#[derive(Clone, Default)]
pub struct ProjectDatabases {
    entries: Arc<Mutex<BTreeMap<SecretName, Connected>>>,
    /// Notified when a database is asked for that nobody keeps yet.
    asked: Arc<Notify>,
}

struct Connected {
    states: watch::Receiver<DatabaseState>,
    /// Taken by the keeper.
    sender: Option<watch::Sender<DatabaseState>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    asked: Instant,
}

/// The objects that depend on the databases of projects.
pub trait Dependents: Send + Sync {
    /// The Secrets that projects name.
    fn named(&self) -> BTreeSet<SecretName>;

    /// Asks for a pass over everything that the database of this Secret holds.
    fn wake(&self, secret: &SecretName);
}

/// Parts that keeping the databases needs.
pub struct Keeping {
    /// As for the operator's own database.
    pub keeper: Keeper,
    pub hosts: AllowedHosts,
    /// Their tokens are in Secrets with the same label.
    pub servers: Servers,
    pub namespaces: Namespaces,
    pub epochs: watch::Receiver<i64>,
    pub raise: mpsc::Sender<i64>,
    pub dependents: Arc<dyn Dependents>,
    pub liveness: Liveness,
}

impl ProjectDatabases {
    /// The state of the database. The first call begins to connect.
    #[must_use]
    pub fn state(&self, namespace: &str, secret: &str) -> DatabaseState {
        let mut entries = self.entries.lock();
        let entry = entries.entry((namespace.into(), secret.into())).or_insert_with(|| {
            self.asked.notify_one();
            let (sender, states) = watch::channel(DatabaseState::Connecting);
            Connected {
                states,
                sender: Some(sender),
                changed: Arc::default(),
                stop: CancellationToken::new(),
                asked: Instant::now(),
            }
        });
        entry.asked = Instant::now();
        entry.states.borrow().clone()
    }

    /// Keeps what is asked for until it is dropped.
    pub async fn keep(self, keeping: Keeping) {
        let mut keepers = JoinSet::new();
        let headroom = Headroom::default();
        let mut ticks = interval(SWEEP);
        let watching = self.watch_secrets(&keeping);
        let following = async {
            loop {
                tokio::select! {
                    () = self.asked.notified() => {}
                    _ = ticks.tick() => {
                        let mut kept = keeping.dependents.named();
                        self.close_unnamed(&kept);
                        kept.extend(self.entries.lock().keys().cloned());
                        keeping.keeper.retain_console_logins(&kept).await;
                    }
                    Some(_) = keepers.join_next() => continue,
                }
                self.start(&keeping, &headroom, &mut keepers);
            }
        };
        tokio::select! {
            () = watching => {}
            () = following => {}
        }
    }

    fn start(&self, keeping: &Keeping, headroom: &Headroom, keepers: &mut JoinSet<()>) {
        let mut entries = self.entries.lock();
        for ((namespace, secret), entry) in &mut *entries {
            let Some(sender) = entry.sender.take() else { continue };
            let keeper = Keeper {
                owner: DatabaseOwner::Projects {
                    namespace: namespace.clone(),
                    secret: secret.clone(),
                    hosts: keeping.hosts.clone(),
                    headroom: headroom.clone(),
                },
                changed: entry.changed.clone(),
                ..keeping.keeper.clone()
            };
            let kept = keeper::keep(keeper, keeping.epochs.clone(), keeping.raise.clone(), sender, entry.stop.clone());
            let name = (namespace.clone(), secret.clone());
            let waking = wake(entry.states.clone(), name, keeping.dependents.clone());
            keepers.spawn(async move {
                tokio::select! {
                    () = kept => {}
                    () = waking => {}
                }
            });
        }
    }

    fn close_unnamed(&self, named: &BTreeSet<SecretName>) {
        let mut entries = self.entries.lock();
        entries.retain(|name, entry| {
            let kept = named.contains(name) || entry.asked.elapsed() < KEPT;
            if !kept {
                info!(namespace = name.0, secret = name.1, "No project names this database any more.");
                entry.stop.cancel();
            }
            kept
        });
    }

    /// Never ends. Metadata is enough: who keeps the database reads the values.
    async fn watch_secrets(&self, keeping: &Keeping) {
        let secrets = ApiResource::erase::<Secret>(&());
        let watch = |(namespace, api)| Watch {
            kind: "ReferencedSecret",
            api,
            namespace,
            contents: Contents::Metadata,
            selector: Some(WATCHED.into()),
            cache: Arc::default(),
            prune: Box::new(|secret| {
                secret.metadata = identity(&secret.metadata);
                // That a value has changed shows in the version alone.
                secret.data = json!({"version": secret.metadata.resource_version});
                true
            }),
            operations: keeping.keeper.metrics.watches.clone(),
            liveness: keeping.liveness.clone(),
        };
        let touched = || {
            let (connected, servers, dependents) = (self.clone(), keeping.servers.clone(), keeping.dependents.clone());
            move |change: Change, _: &DynamicObject| {
                let name = (change.name.namespace.to_string(), change.name.name.to_string());
                if servers.touch(&name) {
                    dependents.wake(&name);
                }
                let entries = connected.entries.lock();
                if let Some(entry) = entries.get(&name) {
                    entry.changed.notify_one();
                }
            }
        };
        let apis = keeping.namespaces.apis(&keeping.keeper.client, &secrets);
        // A cache for each: nobody waits for them to be filled.
        join_all(apis.into_iter().map(|api| watch(api).keep(Box::new(touched())))).await;
    }
}

/// Wakes the dependents of the database whenever its state changes.
async fn wake(mut states: watch::Receiver<DatabaseState>, secret: SecretName, dependents: Arc<dyn Dependents>) {
    let mut known = String::new();
    while states.changed().await.is_ok() {
        let now = states.borrow_and_update().fingerprint();
        if now == known {
            continue;
        }
        known = now;
        dependents.wake(&secret);
    }
}
