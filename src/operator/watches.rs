//! One task a watch, each with its own backoff, feeding a cache and the queues of the controllers.

use std::{collections::BTreeMap, fmt::Debug, hash::Hash, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        controller::{ReconcileReason, ReconcileRequest},
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use prometheus::IntCounter;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tracing::warn;

use super::{
    child::{CLIENT_KEY_LABEL, ChildKind, MANAGED_BY, MANAGED_BY_LABEL, PROJECT_LABEL, prune},
    metrics::Metrics,
};
use crate::crd::{ClientKey, ErrorTrackingProject};

/// A custom resource that could not be read as its kind must not stop the watch for the others.
pub type Guarded<K> = DeserializeGuard<K>;

/// Requests that wait to be taken over by a scheduler; it takes them at once, so a short queue does.
const QUEUE: usize = 256;

/// Objects to reconcile, one queue a kind.
#[derive(Clone, Debug)]
pub struct Queues {
    pub projects: Queue<ErrorTrackingProject>,
    pub keys: Queue<ClientKey>,
}

#[derive(Debug)]
pub struct Queue<K: Resource<DynamicType = ()> + 'static>(mpsc::Sender<ReconcileRequest<Guarded<K>>>);

impl<K: Resource<DynamicType = ()> + 'static> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ReconcileRequest<Guarded<K>>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Asks for one pass over the object. Without a receiver the process is ending, and nothing is lost.
    pub async fn push(&self, namespace: &str, name: &str, reason: &str) {
        let request = ReconcileRequest {
            obj_ref: ObjectRef::new(name).within(namespace),
            reason: ReconcileReason::Custom { reason: reason.into() },
        };
        if self.0.send(request).await.is_err() {
            tracing::debug!("The controller has ended; a request was dropped.");
        }
    }
}

/// What the operator knows of the cluster without asking.
#[derive(Clone)]
pub struct Caches {
    pub projects: Store<Guarded<ErrorTrackingProject>>,
    pub keys: Store<Guarded<ClientKey>>,
    children: Arc<BTreeMap<ChildKind, Store<DynamicObject>>>,
}

impl Caches {
    /// The child as the last watch event showed it; a Secret holds digests instead of values.
    #[must_use]
    pub fn child(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.children.get(&kind)?.get(&ObjectRef::new_with(name, kind.resource()).within(namespace))
    }

    /// Every child of the kind that is ours.
    #[must_use]
    pub fn children(&self, kind: ChildKind) -> Vec<Arc<DynamicObject>> {
        self.children.get(&kind).map(Store::state).unwrap_or_default()
    }

    #[must_use]
    pub fn project(&self, namespace: &str, name: &str) -> Option<Arc<Guarded<ErrorTrackingProject>>> {
        self.projects.get(&ObjectRef::new(name).within(namespace))
    }

    /// Waits until every cache has seen its first list.
    pub async fn ready(&self) -> bool {
        let mut ready = self.projects.wait_until_ready().await.is_ok() && self.keys.wait_until_ready().await.is_ok();
        for children in self.children.values() {
            ready &= children.wait_until_ready().await.is_ok();
        }
        ready
    }
}

/// Starts every watch in `tasks`. Watches end only with the process.
///
/// Only what changes afterwards reaches the queues: nobody reads them before every cache is filled. `relisted` tells
/// that a watch began anew, which may have swallowed a deletion.
pub fn start(
    tasks: &mut JoinSet<()>,
    client: &Client,
    queues: &Queues,
    relisted: &Arc<Notify>,
    metrics: &Metrics,
) -> Caches {
    let started = Started { relisted: relisted.clone(), failures: metrics.watch_failures.clone() };
    let projects_writer = Writer::<Guarded<ErrorTrackingProject>>::default();
    let keys_writer = Writer::<Guarded<ClientKey>>::default();
    let mut children = BTreeMap::new();
    let mut child_writers = Vec::new();
    for kind in ChildKind::ALL {
        let writer = Writer::new(kind.resource());
        children.insert(kind, writer.as_reader());
        child_writers.push((kind, writer));
    }
    let caches =
        Caches { projects: projects_writer.as_reader(), keys: keys_writer.as_reader(), children: Arc::new(children) };

    let (queue, keys) = (queues.clone(), caches.keys.clone());
    watch(
        tasks,
        Api::all(client.clone()),
        watcher::Config::default(),
        projects_writer,
        &started,
        forget_managed_fields,
        move |project| {
            let (queue, keys) = (queue.clone(), keys.clone());
            async move {
                let (namespace, name) = (project.namespace().unwrap_or_default(), project.name_any());
                queue.projects.push(&namespace, &name, "project changed").await;
                for key in keys_of(&keys, &namespace, &name) {
                    queue.keys.push(&namespace, &key, "project changed").await;
                }
            }
        },
    );
    let queue = queues.clone();
    watch(
        tasks,
        Api::all(client.clone()),
        watcher::Config::default(),
        keys_writer,
        &started,
        forget_managed_fields,
        move |key| {
            let queue = queue.clone();
            async move { queue.keys.push(&key.namespace().unwrap_or_default(), &key.name_any(), "key changed").await }
        },
    );
    for (kind, writer) in child_writers {
        let queue = queues.clone();
        let api = Api::all_with(client.clone(), &kind.resource());
        let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        watch(
            tasks,
            api,
            ours,
            writer,
            &started,
            move |child| prune(kind, child),
            move |child| {
                let queue = queue.clone();
                async move {
                    let namespace = child.namespace().unwrap_or_default();
                    if let Some(key) = child.labels().get(CLIENT_KEY_LABEL) {
                        queue.keys.push(&namespace, key, "Secret changed").await;
                    } else if let Some(project) = child.labels().get(PROJECT_LABEL) {
                        queue.projects.push(&namespace, project, "child changed").await;
                    }
                }
            },
        );
    }
    caches
}

/// Names of the keys of a project.
#[must_use]
pub fn keys_of(keys: &Store<Guarded<ClientKey>>, namespace: &str, project: &str) -> Vec<String> {
    keys.state()
        .into_iter()
        .filter_map(|key| {
            key.0.as_ref().ok().map(|key| (key.namespace(), key.spec.project_ref.name.clone(), key.name_any()))
        })
        .filter(|(in_namespace, of_project, _)| in_namespace.as_deref() == Some(namespace) && of_project == project)
        .map(|(_, _, name)| name)
        .collect()
}

fn forget_managed_fields<K: Resource<DynamicType = ()> + 'static>(object: &mut Guarded<K>) {
    object.meta_mut().managed_fields = None;
}

/// What every watch tells.
struct Started {
    relisted: Arc<Notify>,
    failures: IntCounter,
}

fn watch<K, F, Fut>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
    started: &Started,
    prune: impl Fn(&mut K) + Send + 'static,
    touched: F,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
    F: Fn(K) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let (relisted, failures) = (started.relisted.clone(), started.failures.clone());
    tasks.spawn(async move {
        let mut events = watcher(api, config).default_backoff().modify(prune).reflect(writer).boxed();
        while let Some(next) = events.next().await {
            match next {
                Ok(Event::Apply(object) | Event::Delete(object)) => touched(object).await,
                Ok(Event::Init | Event::InitApply(_)) => {}
                Ok(Event::InitDone) => relisted.notify_one(),
                Err(error) => {
                    failures.inc();
                    warn!(%error, "A watch failed; it is started again after a pause.");
                }
            }
        }
    });
}
