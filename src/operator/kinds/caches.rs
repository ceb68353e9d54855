//! A cache and a queue for each kind, and a cache for each kind of child. Watches feed them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
};
use tokio::task::JoinSet;

use super::{
    KINDS,
    kind::{Descriptor, Kind},
};
use crate::{
    crd::{ErrorTrackingProject, GROUP},
    dsn::ProjectId,
    kubernetes::{
        names::{MANAGED_BY, MANAGED_BY_LABEL},
        pages::{Contents, identity},
    },
    operator::{
        cluster::{
            Guarded, Resources,
            cache::{Cache, Caching, Change},
            watch::Watch,
        },
        databases::{Dependents, SecretName},
        engine::{
            metrics::Metrics,
            queue::{ObjectName, Queue, Urgency},
        },
        objects::child::{self, ChildKind, prune},
    },
    telemetry::Liveness,
};

/// Objects that are named when many are wrong in the same way.
const MOST_NAMED: usize = 5;

/// The objects of one kind, and those of them that wait for a pass.
pub struct Reconciled {
    pub kind: &'static Descriptor,
    pub cache: Arc<Cache>,
    pub queue: Arc<Queue>,
}

/// Clones share the caches.
#[derive(Clone)]
pub struct Caches {
    kinds: Arc<[Reconciled]>,
    children: Arc<BTreeMap<ChildKind, Arc<Cache>>>,
}

impl Caches {
    #[must_use]
    pub fn new(queue: impl Fn(&'static str) -> Queue) -> Self {
        let kinds = KINDS.iter().map(|kind| Reconciled {
            kind,
            cache: Arc::new(Cache::new(kind.caching)),
            queue: Arc::new(queue(kind.controller)),
        });
        let caching = Caching { reduce: child::reduce, ..Caching::default() };
        let children = ChildKind::ALL.into_iter().map(|kind| (kind, Arc::new(Cache::new(caching))));
        Self { kinds: kinds.collect(), children: Arc::new(children.collect()) }
    }

    #[must_use]
    pub fn kinds(&self) -> &[Reconciled] {
        &self.kinds
    }

    /// The objects of a kind that is in [`KINDS`].
    #[must_use]
    pub fn of<K: Kind>(&self) -> Resources<K> {
        let listed = self.kinds.iter().find(|listed| listed.kind.controller == K::CONTROLLER);
        Resources::new(listed.map(|listed| listed.cache.clone()).unwrap_or_default())
    }

    /// The newest status that is known of an object.
    #[must_use]
    pub fn newest_status<K: Kind>(&self, object: &K) -> K::Status {
        let metadata = object.meta();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name, uid) = (text(&metadata.namespace), text(&metadata.name), text(&metadata.uid));
        let cached = self.of::<K>().cache.status(&namespace, &name, &uid);
        // That of a large object was read with it.
        cached.or_else(|| object.known_status().cloned()).unwrap_or_default()
    }

    /// The child as the last watch event showed it; a Secret holds digests instead of values. Of one that no custom
    /// resource owns it says whose it is and nothing else. `None` also for a large one.
    #[must_use]
    pub fn child(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let cache = self.children.get(&kind).filter(|cache| !cache.is_large(namespace, name))?;
        cache.get(namespace, name).map(Arc::new)
    }

    /// Whether the child is too large to be kept: it is read from the API server.
    #[must_use]
    pub fn is_large_child(&self, kind: ChildKind, namespace: &str, name: &str) -> bool {
        self.children.get(&kind).is_some_and(|cache| cache.is_large(namespace, name))
    }

    /// All children of a kind, in part where they are large. Each is unpacked: only for rare work.
    pub fn children(&self, kind: ChildKind) -> impl Iterator<Item = DynamicObject> {
        let cache = self.children.get(&kind).cloned().unwrap_or_default();
        cache.names().into_iter().filter_map(move |name| cache.get(&name.namespace, &name.name))
    }

    #[must_use]
    pub fn project(&self, namespace: &str, name: &str) -> Option<Arc<Guarded<ErrorTrackingProject>>> {
        self.of::<ErrorTrackingProject>().get(&ObjectName::new(namespace, name))
    }

    /// The largest number that a status names, up to `credible`: new ones start above it, even after a restore of
    /// Postgres.
    #[must_use]
    pub fn largest_project_id(&self, credible: ProjectId) -> Option<ProjectId> {
        let projects = self.of::<ErrorTrackingProject>().cache;
        projects.summaries(|all| {
            let numbers = all.filter_map(|(_, project)| ProjectId::try_from(project.facts.number).ok());
            numbers.filter(|number| *number <= credible).max()
        })
    }

    /// Some of the projects whose statuses name a number beyond `credible`, with that number.
    #[must_use]
    pub fn incredible_project_ids(&self, credible: ProjectId) -> Vec<(ObjectReference, i64)> {
        let projects = self.of::<ErrorTrackingProject>().cache;
        projects.summaries(|all| {
            let beyond = all.filter(|(_, project)| project.facts.number > credible.as_i64());
            let reference = |name: &ObjectName, uid: &str| ObjectReference {
                namespace: Some(name.namespace.to_string()),
                name: Some(name.name.to_string()),
                uid: Some(uid.to_owned()),
                ..ErrorTrackingProject::default().object_ref(&())
            };
            beyond
                .map(|(name, project)| (reference(name, &project.uid), project.facts.number))
                .take(MOST_NAMED)
                .collect()
        })
    }

    /// Waits until every cache has seen its first list.
    pub async fn ready(&self) {
        for cache in self.kinds.iter().map(|listed| &listed.cache).chain(self.children.values()) {
            cache.ready().await;
        }
    }

    /// Asks for a first pass over everything that is there at the start. Returns the number of objects.
    pub fn seed(&self) -> usize {
        let seed = |listed: &Reconciled| {
            let names = listed.cache.names();
            listed.queue.seed(&names);
            names.len()
        };
        self.kinds.iter().map(seed).sum()
    }

    /// Whether everything that was there at the start has had a pass.
    #[must_use]
    pub fn started(&self) -> bool {
        self.kinds.iter().all(|listed| listed.queue.started())
    }

    /// Asks for a pass over everything.
    pub fn wake_all(&self) {
        for listed in self.kinds.iter() {
            for name in listed.cache.names() {
                listed.queue.push(&name, Urgency::Routine);
            }
        }
    }

    /// Asks for a pass over the objects that refer to this one, of whichever kind.
    fn wake_dependents(&self, kind: &Descriptor, object: &ObjectName) {
        for listed in self.kinds.iter().filter(|listed| listed.kind.depends_on == Some(kind.controller)) {
            for dependent in listed.cache.referring(&object.namespace, &object.name) {
                listed.queue.push(&dependent, Urgency::Changed);
            }
        }
    }

    /// Starts every watch in `tasks`. Watches end only with the process.
    pub fn start(&self, tasks: &mut JoinSet<()>, client: &Client, metrics: &Metrics, liveness: &Liveness) {
        let watch = |kind: &'static str, resource: &ApiResource, selector: Option<String>, cache: &Arc<Cache>| Watch {
            kind,
            api: Api::all_with(client.clone(), resource),
            contents: Contents::Whole,
            selector,
            cache: cache.clone(),
            prune: Box::new(|object| {
                prune_resource(object);
                true
            }),
            operations: metrics.watches.clone(),
            liveness: liveness.clone(),
        };
        for listed in self.kinds.iter() {
            let (caches, queue, kind) = (self.clone(), listed.queue.clone(), listed.kind);
            let touched = move |change: Change, _: &DynamicObject| {
                queue.shown(&change.name, change.version.as_deref());
                if change.outward {
                    caches.wake_dependents(kind, &change.name);
                }
            };
            let watch = watch(kind.name, &(kind.resource)(), None, &listed.cache);
            tasks.spawn(watch.keep(Box::new(touched)));
        }
        let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        for (kind, cache) in self.children.iter() {
            let kind = *kind;
            let mut watch = watch(kind.as_str(), &kind.resource(), Some(ours.clone()), cache);
            let caches = self.clone();
            watch.prune = Box::new(move |child| caches.prune_child(kind, child));
            let caches = self.clone();
            let touched = move |change: Change, child: &DynamicObject| caches.child_shown(&change, child);
            let caches = self.clone();
            tasks.spawn(async move {
                // Whose a child is, is known when the custom resources are.
                for listed in caches.kinds.iter() {
                    listed.cache.ready().await;
                }
                watch.keep(Box::new(touched)).await;
            });
        }
    }

    /// Leaves of a child what is compared, if a custom resource owns it. Anybody may make objects that wear our labels:
    /// of those it is kept whose they are, in case their name is wanted. Whether the cache need know of it at all.
    fn prune_child(&self, kind: ChildKind, child: &mut DynamicObject) -> bool {
        let labels = child.labels();
        if !self.kinds.iter().any(|listed| labels.contains_key(listed.kind.child_label)) {
            return false;
        }
        if self.is_owned(child) {
            prune(kind, child);
        } else {
            child::reduce(child);
        }
        true
    }

    /// Whether a custom resource that lives owns the child.
    fn is_owned(&self, child: &DynamicObject) -> bool {
        let namespace = child.namespace().unwrap_or_default();
        child.owner_references().iter().any(|owner| {
            let listed = self.kinds.iter().find(|listed| *listed.kind.name == *owner.kind);
            listed.and_then(|listed| listed.cache.uid(&namespace, &owner.name)).is_some_and(|uid| *uid == *owner.uid)
        })
    }

    /// Wakes the owner of a child. A child may also carry the label of what its owner depends on: the last kind wins.
    fn child_shown(&self, change: &Change, child: &DynamicObject) {
        let labels = child.labels();
        let owner = self.kinds.iter().rev().find_map(|listed| Some((listed, labels.get(listed.kind.child_label)?)));
        if let Some((listed, name)) = owner {
            let owner = ObjectName::new(&change.name.namespace, name);
            listed.queue.shown(&owner, change.version.as_deref());
        }
    }
}

/// Leaves of a custom resource what its passes need. People may put labels and annotations of 256 KiB beside it.
fn prune_resource(object: &mut DynamicObject) {
    let metadata = std::mem::take(&mut object.metadata);
    object.metadata = identity(&metadata);
    object.metadata.finalizers = metadata.finalizers;
    let ours = |annotation: &str| annotation.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    object.metadata.annotations =
        metadata.annotations.map(|all| all.into_iter().filter(|(name, _)| ours(name)).collect());
}

impl Dependents for Caches {
    fn named(&self) -> BTreeSet<SecretName> {
        self.of::<ErrorTrackingProject>().cache.summaries(|all| {
            all.filter(|(_, project)| !project.facts.refers_to.is_empty())
                .map(|(name, project)| (name.namespace.to_string(), project.facts.refers_to.to_string()))
                .collect()
        })
    }

    fn wake(&self, (namespace, secret): &SecretName) {
        let Some(projects) =
            self.kinds.iter().find(|listed| listed.kind.controller == ErrorTrackingProject::CONTROLLER)
        else {
            return;
        };
        for project in projects.cache.referring(namespace, secret) {
            projects.queue.push(&project, Urgency::Changed);
            self.wake_dependents(projects.kind, &project);
        }
    }
}
