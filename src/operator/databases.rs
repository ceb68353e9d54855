//! The databases that projects name with a Secret of their own: one connection for each Secret, made when a project
//! asks for it and closed when none does any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    database::{self, Headroom, Keeper, Of, State},
    guards::Guards,
    queue::Urgency,
    watches::{Caches, Queues},
};

/// A Secret with this label is read as soon as it changes; the others every few minutes.
const WATCHED: &str = "errortracking.dev/watch=true";
/// How often databases are looked for that nobody names any more.
const SWEEP: Duration = Duration::from_secs(30);
/// A database that a project does not name, as for what a deleted one left, is kept this long after it was asked for.
const KEPT: Duration = Duration::from_mins(1);

/// Namespace and name of a Secret.
type Place = (String, String);

/// States by Secret. Clones share them.
#[derive(Clone, Default)]
pub struct Databases {
    entries: Arc<Mutex<BTreeMap<Place, Entry>>>,
    /// Told when a database is asked for that nobody keeps yet.
    asked: Arc<Notify>,
}

struct Entry {
    states: watch::Receiver<State>,
    /// Taken by the keeper.
    sender: Option<watch::Sender<State>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    asked: Instant,
}

/// What keeping the databases takes.
pub struct Surroundings {
    /// As for the operator's own database.
    pub keeper: Keeper,
    pub guards: Guards,
    pub epochs: watch::Receiver<i64>,
    pub raise: mpsc::Sender<i64>,
    pub caches: Caches,
    pub queues: Queues,
}

impl Databases {
    /// What is known of the database now; the first question makes it be connected to.
    #[must_use]
    pub fn state(&self, namespace: &str, secret: &str) -> State {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry((namespace.into(), secret.into())).or_insert_with(|| {
            self.asked.notify_one();
            let (sender, states) = watch::channel(State::Connecting);
            Entry {
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
    pub async fn keep(self, around: Surroundings) {
        let mut keepers = JoinSet::new();
        let headroom = Headroom::default();
        let mut ticks = interval(SWEEP);
        let watching = self.watch_secrets(&around.keeper);
        let keeping = async {
            loop {
                tokio::select! {
                    () = self.asked.notified() => {}
                    _ = ticks.tick() => self.close_unnamed(&around.caches),
                    Some(_) = keepers.join_next() => continue,
                }
                self.start(&around, &headroom, &mut keepers);
            }
        };
        tokio::select! {
            () = watching => {}
            () = keeping => {}
        }
    }

    fn start(&self, around: &Surroundings, headroom: &Headroom, keepers: &mut JoinSet<()>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for ((namespace, secret), entry) in &mut *entries {
            let Some(sender) = entry.sender.take() else { continue };
            let keeper = Keeper {
                of: Of::Projects {
                    namespace: namespace.clone(),
                    secret: secret.clone(),
                    guards: around.guards.clone(),
                    headroom: headroom.clone(),
                },
                changed: entry.changed.clone(),
                ..around.keeper.clone()
            };
            let keeping =
                database::keep(keeper, around.epochs.clone(), around.raise.clone(), sender, entry.stop.clone());
            let place = (namespace.clone(), secret.clone());
            let waking = wake(entry.states.clone(), place, around.caches.clone(), around.queues.clone());
            keepers.spawn(async move {
                tokio::select! {
                    () = keeping => {}
                    () = waking => {}
                }
            });
        }
    }

    fn close_unnamed(&self, caches: &Caches) {
        let named: BTreeSet<Place> = caches.projects.cache.summaries(|all| {
            all.filter(|(_, project)| !project.refers_to.is_empty())
                .map(|(name, project)| (name.namespace.to_string(), project.refers_to.to_string()))
                .collect()
        });
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|place, entry| {
            let kept = named.contains(place) || entry.asked.elapsed() < KEPT;
            if !kept {
                info!(namespace = place.0, secret = place.1, "No project names this database any more.");
                entry.stop.cancel();
            }
            kept
        });
    }

    /// Never ends. Metadata is enough: who keeps the database reads the values.
    async fn watch_secrets(&self, keeper: &Keeper) {
        let api: Api<PartialObjectMeta<Secret>> = Api::all(keeper.client.clone());
        let mut events =
            watcher(api, watcher::Config::default().labels(WATCHED)).default_backoff().touched_objects().boxed();
        while let Some(next) = events.next().await {
            match next {
                Ok(secret) => {
                    let place = (secret.namespace().unwrap_or_default(), secret.name_any());
                    let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(entry) = entries.get(&place) {
                        entry.changed.notify_one();
                    }
                }
                Err(error) => {
                    keeper.metrics.watches.with_label_values(&["Secret", "watch_failed"]).inc();
                    warn!(%error, "The watch of referenced Secrets failed; it is started again after a pause.");
                }
            }
        }
    }
}

/// Asks for a pass over everything that the database holds, whenever something else is known of it.
async fn wake(mut states: watch::Receiver<State>, (namespace, secret): Place, caches: Caches, queues: Queues) {
    let mut known = String::new();
    while states.changed().await.is_ok() {
        let now = states.borrow_and_update().said();
        if now == known {
            continue;
        }
        known = now;
        for project in caches.projects.cache.referring(&namespace, &secret) {
            queues.projects.push(&project, Urgency::Changed);
            for key in caches.keys.cache.referring(&namespace, &project.name) {
                queues.keys.push(&key, Urgency::Changed);
            }
        }
    }
}
