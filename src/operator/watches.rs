//! One watch a kind, each with its own backoff, feeding a cache and the queues of the controllers.
//!
//! A watch lists, then follows the changes from there. When its connection ends it goes on from the last version; when that
//! version is too old (410) it lists anew and tells only what differs. A connection that says nothing for too long is
//! taken for dead.

use std::{
    collections::{BTreeMap, HashSet},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams, WatchParams},
    core::{ApiResource, DeserializeGuard, NamespaceResourceScope, WatchEvent},
};
use prometheus::IntCounterVec;
use rand::RngExt;
use serde::de::DeserializeOwned;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    apply::kube_message,
    cache::{Cache, Change},
    child::{CLIENT_KEY_LABEL, ChildKind, MANAGED_BY, MANAGED_BY_LABEL, PROJECT_LABEL, prune, prune_metadata},
    metrics::Metrics,
    queue::{ObjectName, Queue, Urgency},
};
use crate::{
    crd::{ClientKey, ClientKeyStatus, ErrorTrackingProject, ErrorTrackingProjectStatus},
    telemetry::Liveness,
};

/// A custom resource that could not be read as its kind must not stop the watch for the others.
pub type Guarded<K> = DeserializeGuard<K>;

/// Objects in one answer to a list.
const PAGE: u32 = 500;
/// Seconds after which the API server ends a watch, which then goes on anew: a connection that somebody on the way has
/// forgotten says nothing for ever, and is noticed because it does not end either.
const WATCH_SECONDS: u32 = 20;
/// An end that is late by more is not coming.
const SILENCE: Duration = Duration::from_secs(25);
/// An answer to a list, or to the beginning of a watch, that takes longer is not coming.
const ANSWER: Duration = Duration::from_secs(30);
/// Without a sign for so long the process is restarted.
pub const DEAD: Duration = Duration::from_mins(5);
/// First and longest pause after a failure: whoever comes back is noticed soon.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(15);

/// Objects to reconcile, one queue a kind.
#[derive(Clone, Debug)]
pub struct Queues {
    pub projects: Arc<Queue>,
    pub keys: Arc<Queue>,
}

/// A cache whose objects are custom resources of one kind.
#[derive(Debug)]
pub struct Resources<K> {
    pub cache: Arc<Cache>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Resources<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), kind: PhantomData }
    }
}

impl<K> Default for Resources<K> {
    fn default() -> Self {
        Self { cache: Arc::default(), kind: PhantomData }
    }
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Resources<K> {
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Arc<Guarded<K>>> {
        self.cache
            .with(&name.namespace, &name.name, |json| {
                // The guard copies the whole object to be able to fall back: only what cannot be read pays for that.
                serde_json::from_slice(json)
                    .map(|object| DeserializeGuard(Ok(object)))
                    .or_else(|_| serde_json::from_slice(json))
                    .ok()
            })?
            .map(Arc::new)
    }

    /// All of them, each read anew: for what is done seldom.
    #[must_use]
    pub fn state(&self) -> Vec<Arc<Guarded<K>>> {
        self.cache.names().into_iter().filter_map(|name| self.get(&name)).collect()
    }
}

/// A custom resource that has a cache.
pub trait Cached:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned
{
    type Status: DeserializeOwned + Default;

    fn cache(caches: &Caches) -> &Cache;

    /// The newest status that is known of it.
    fn newest_status(&self, caches: &Caches) -> Self::Status {
        let ObjectMeta { namespace, name, uid, .. } = self.meta();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self::cache(caches).status(&text(namespace), &text(name), &text(uid)).unwrap_or_default()
    }
}

impl Cached for ErrorTrackingProject {
    type Status = ErrorTrackingProjectStatus;

    fn cache(caches: &Caches) -> &Cache {
        &caches.projects.cache
    }
}

impl Cached for ClientKey {
    type Status = ClientKeyStatus;

    fn cache(caches: &Caches) -> &Cache {
        &caches.keys.cache
    }
}

/// What the operator knows of the cluster without asking.
#[derive(Clone, Debug)]
pub struct Caches {
    pub projects: Resources<ErrorTrackingProject>,
    pub keys: Resources<ClientKey>,
    children: Arc<BTreeMap<ChildKind, Arc<Cache>>>,
}

impl Caches {
    /// The child as the last watch event showed it; a Secret holds digests instead of values.
    #[must_use]
    pub fn child(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.children.get(&kind)?.get(namespace, name).map(Arc::new)
    }

    /// All children of a kind, each read anew: for what is done seldom.
    pub fn children(&self, kind: ChildKind) -> impl Iterator<Item = DynamicObject> {
        let cache = self.children.get(&kind).cloned().unwrap_or_default();
        cache.names().into_iter().filter_map(move |name| cache.get(&name.namespace, &name.name))
    }

    #[must_use]
    pub fn project(&self, namespace: &str, name: &str) -> Option<Arc<Guarded<ErrorTrackingProject>>> {
        self.projects.get(&ObjectName::new(namespace, name))
    }

    /// Waits until every cache has seen its first list.
    pub async fn ready(&self) {
        self.projects.cache.ready().await;
        self.keys.cache.ready().await;
        for children in self.children.values() {
            children.ready().await;
        }
    }
}

/// Told of each change, with the object as it is or was last.
type Touched = Box<dyn Fn(Change, &DynamicObject) + Send + Sync>;

/// Starts every watch in `tasks`. Watches end only with the process.
pub fn start(
    tasks: &mut JoinSet<()>,
    client: &Client,
    queues: &Queues,
    metrics: &Metrics,
    liveness: &Liveness,
) -> Caches {
    let caches = Caches {
        projects: Resources::default(),
        keys: Resources::default(),
        children: Arc::new(ChildKind::ALL.into_iter().map(|kind| (kind, Arc::default())).collect()),
    };
    let start = |tasks: &mut JoinSet<()>, watch: Watch, touched: Touched| {
        tasks.spawn(watch.keep(touched));
    };
    let watch = |kind: &'static str, resource: &ApiResource, selector: Option<String>, cache: &Arc<Cache>| Watch {
        kind,
        api: Api::all_with(client.clone(), resource),
        selector,
        cache: cache.clone(),
        prune: Box::new(prune_metadata),
        operations: metrics.watches.clone(),
        liveness: liveness.clone(),
    };

    let resource = ApiResource::erase::<ErrorTrackingProject>(&());
    let (to, keys) = (queues.clone(), caches.keys.cache.clone());
    start(
        tasks,
        watch("ErrorTrackingProject", &resource, None, &caches.projects.cache),
        Box::new(move |change, _| {
            to.projects.shown(&change.name, change.version.as_deref());
            if change.outward {
                for key in keys.referring(&change.name.namespace, &change.name.name) {
                    to.keys.push(&key, Urgency::Changed);
                }
            }
        }),
    );
    let resource = ApiResource::erase::<ClientKey>(&());
    let to = queues.clone();
    start(
        tasks,
        watch("ClientKey", &resource, None, &caches.keys.cache),
        Box::new(move |change, _| to.keys.shown(&change.name, change.version.as_deref())),
    );
    let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
    for (kind, cache) in caches.children.iter() {
        let kind = *kind;
        let mut watch = watch(kind.as_str(), &kind.resource(), Some(ours.clone()), cache);
        watch.prune = Box::new(move |child| prune(kind, child));
        let to = queues.clone();
        let touched = move |change: Change, child: &DynamicObject| {
            let owner =
                |label: &str| child.labels().get(label).map(|owner| ObjectName::new(&change.name.namespace, owner));
            if let Some(key) = owner(CLIENT_KEY_LABEL) {
                to.keys.shown(&key, change.version.as_deref());
            } else if let Some(project) = owner(PROJECT_LABEL) {
                to.projects.shown(&project, change.version.as_deref());
            }
        };
        start(tasks, watch, Box::new(touched));
    }
    caches
}

/// Why a watch has to pause.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    /// The API server's sentence names the verb and the resource when a right is missing.
    #[error("{}", kube_message(.0))]
    Kubernetes(#[from] Box<kube::Error>),
    #[error("no answer within {} s", ANSWER.as_secs())]
    NoAnswer,
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    /// Changes since the last version are not kept any more.
    #[error("the last version that was seen is too old")]
    Expired,
}

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Expired,
            error => Self::Kubernetes(Box::new(error)),
        }
    }
}

/// Keeps one cache true.
struct Watch {
    kind: &'static str,
    api: Api<DynamicObject>,
    /// Labels.
    selector: Option<String>,
    cache: Arc<Cache>,
    prune: Box<dyn Fn(&mut DynamicObject) + Send + Sync>,
    operations: IntCounterVec,
    liveness: Liveness,
}

impl Watch {
    fn count(&self, operation: &str) {
        self.operations.with_label_values(&[self.kind, operation]).inc();
    }

    async fn keep(self, touched: Touched) {
        let _expected = self.liveness.expect(self.kind, DEAD);
        let mut version: Option<String> = None;
        let mut failures = 0_u32;
        loop {
            let step = match &mut version {
                None => self.list(&touched).await.map(|listed| version = Some(listed)),
                Some(version) => self.follow(version, &touched).await,
            };
            // A failure is a sign of life as well: it is the API server that is away.
            self.liveness.sign(self.kind);
            let Err(error) = step else {
                failures = 0;
                continue;
            };
            let operation = match (&error, &version) {
                (WatchError::Expired, _) => "relist",
                (WatchError::Silent, _) => "silent",
                (_, None) => "list_failed",
                (_, Some(_)) => "watch_failed",
            };
            self.count(operation);
            if matches!(error, WatchError::Expired) {
                debug!(kind = self.kind, "Changes were missed; listing anew.");
                // Not a second time without a pause: a list can expire as well.
                if version.take().is_some() {
                    continue;
                }
            }
            let pause = BACKOFF.start().saturating_mul(1 << failures.min(8)).min(*BACKOFF.end());
            let pause = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            failures += 1;
            warn!(kind = self.kind, %error, ?pause, "A watch failed; it goes on after a pause.");
            sleep(pause).await;
        }
    }

    /// Fills the cache from a list, page by page; the version to follow from.
    async fn list(&self, touched: &Touched) -> Result<String, WatchError> {
        let mut parameters = ListParams { label_selector: self.selector.clone(), ..ListParams::default() }.limit(PAGE);
        let mut seen = HashSet::new();
        // At first everything gets a pass anyway.
        let again = self.cache.is_filled();
        loop {
            self.count("list");
            let page = timeout(ANSWER, self.api.list(&parameters)).await.map_err(|_| WatchError::NoAnswer)??;
            self.liveness.sign(self.kind);
            for mut object in page.items {
                (self.prune)(&mut object);
                seen.insert(ObjectName::new(&object.namespace().unwrap_or_default(), &object.name_any()));
                if let Some(change) = self.cache.put(&object)
                    && again
                {
                    // What happened before our own last write may not have been shown.
                    touched(Change { version: None, ..change }, &object);
                }
            }
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                for (change, last_seen) in self.cache.listed(&seen) {
                    touched(change, &last_seen);
                }
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    /// Takes changes in until the connection ends; `version` follows.
    async fn follow(&self, version: &mut String, touched: &Touched) -> Result<(), WatchError> {
        self.count("watch");
        let begin = Instant::now();
        let mut parameters = WatchParams::default().timeout(WATCH_SECONDS);
        parameters.label_selector.clone_from(&self.selector);
        let followed =
            timeout(ANSWER, self.api.watch(&parameters, version)).await.map_err(|_| WatchError::NoAnswer)??;
        let mut events = followed.boxed();
        loop {
            let next = timeout(SILENCE, events.next()).await.map_err(|_| WatchError::Silent)?;
            self.liveness.sign(self.kind);
            let Some(event) = next else {
                // A server that ends each watch at once is not asked without a pause.
                sleep_until(begin + *BACKOFF.start()).await;
                return Ok(());
            };
            let change = match event? {
                WatchEvent::Added(mut object) | WatchEvent::Modified(mut object) => {
                    (self.prune)(&mut object);
                    object.resource_version().unwrap_or_default().clone_into(version);
                    self.cache.put(&object).map(|change| (change, object))
                }
                WatchEvent::Deleted(object) => {
                    object.resource_version().unwrap_or_default().clone_into(version);
                    self.cache.remove(&object).map(|change| (change, object))
                }
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    None
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            };
            if let Some((change, object)) = change {
                touched(change, &object);
            }
        }
    }
}
