//! A cache and a queue for each kind, and a cache for each kind of child. Watches feed them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    KINDS,
    kind::{Descriptor, Kind},
    project,
};
use crate::{
    crd::{ErrorTrackingProject, GROUP},
    dsn::ProjectId,
    kubernetes::{
        Namespaces,
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
    /// Objects that the limit of their namespace keeps out, until one of the others goes.
    turned_away: Mutex<BTreeSet<ObjectName>>,
}

impl Reconciled {
    fn new(kind: &'static Descriptor, queue: Queue) -> Self {
        let cache = Arc::new(Cache::new(kind.caching));
        Self { kind, cache, queue: Arc::new(queue), turned_away: Mutex::default() }
    }

    /// An object of the namespace is gone: another may have its place.
    fn wake_turned_away(&self, namespace: &str) {
        let mut turned_away = self.turned_away.lock();
        let first = ObjectName::new(namespace, "");
        let of_namespace = turned_away.range(first..).take_while(|name| *name.namespace == *namespace);
        for name in of_namespace.cloned().collect::<Vec<_>>() {
            turned_away.remove(&name);
            self.queue.push(&name, Urgency::Routine);
        }
    }
}

/// Clones share the caches.
#[derive(Clone)]
pub struct Caches {
    kinds: Arc<[Reconciled]>,
    children: Arc<BTreeMap<ChildKind, Arc<Cache>>>,
    /// Notified when a rollout has gone on: others may have their turn.
    pub rollouts: Arc<Notify>,
}

impl Caches {
    #[must_use]
    pub fn new(queue: impl Fn(&'static str) -> Queue) -> Self {
        let kinds = KINDS.iter().map(|kind| Reconciled::new(kind, queue(kind.controller)));
        let children = ChildKind::ALL.into_iter().map(|kind| {
            let facts = match kind {
                ChildKind::Deployment => project::rollout_facts,
                _ => Caching::default().facts,
            };
            (kind, Arc::new(Cache::new(Caching { facts, reduce: child::reduce })))
        });
        Self { kinds: kinds.collect(), children: Arc::new(children.collect()), rollouts: Arc::default() }
    }

    #[must_use]
    pub fn kinds(&self) -> &[Reconciled] {
        &self.kinds
    }

    /// The objects of a kind that is in [`KINDS`].
    #[must_use]
    pub fn of<K: Kind>(&self) -> Resources<K> {
        Resources::new(self.listed::<K>().map(|listed| listed.cache.clone()).unwrap_or_default())
    }

    fn listed<K: Kind>(&self) -> Option<&Reconciled> {
        self.kinds.iter().find(|listed| listed.kind.controller == K::CONTROLLER)
    }

    /// Asks for a pass over the object when another one of its kind and namespace is gone.
    pub fn turn_away<K: Kind>(&self, namespace: &str, name: &str) {
        if let Some(listed) = self.listed::<K>() {
            listed.turned_away.lock().insert(ObjectName::new(namespace, name));
        }
    }

    /// Asks for a pass over the object if there is such a one.
    pub fn wake<K: Kind>(&self, name: &ObjectName) {
        if let Some(listed) = self.listed::<K>()
            && listed.cache.uid(&name.namespace, &name.name).is_some()
        {
            listed.queue.push(name, Urgency::Routine);
        }
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

    /// The children of a kind, with their facts.
    #[must_use]
    pub fn children(&self, kind: ChildKind) -> Arc<Cache> {
        self.children.get(&kind).cloned().unwrap_or_default()
    }

    #[must_use]
    pub fn project(&self, namespace: &str, name: &str) -> Option<Arc<Guarded<ErrorTrackingProject>>> {
        self.of::<ErrorTrackingProject>().get(&ObjectName::new(namespace, name))
    }

    /// Whether another server keeps the errors of the project. It is told without reading the object.
    #[must_use]
    pub fn is_elsewhere(&self, project: &ObjectName) -> bool {
        let facts = self.of::<ErrorTrackingProject>().cache.facts(&project.namespace, &project.name);
        facts.is_some_and(|facts| facts.elsewhere)
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
            listed.cache.each_name(|name| listed.queue.push(name, Urgency::Routine));
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

    /// Starts every watch in `tasks`, for each of the namespaces. Watches end only with the process.
    pub fn start(
        &self,
        tasks: &mut JoinSet<()>,
        client: &Client,
        namespaces: &Namespaces,
        metrics: &Metrics,
        liveness: &Liveness,
    ) {
        let watches = |kind: &'static str, resource: &ApiResource, selector: Option<&String>, cache: &Arc<Cache>| {
            let apis = namespaces.apis(client, resource);
            cache.expect_lists(apis.len());
            let watch = |(namespace, api)| Watch {
                kind,
                api,
                namespace,
                contents: Contents::Whole,
                selector: selector.cloned(),
                cache: cache.clone(),
                prune: Box::new(|object| {
                    prune_resource(object);
                    true
                }),
                operations: metrics.watches.clone(),
                liveness: liveness.clone(),
            };
            apis.into_iter().map(watch).collect::<Vec<_>>()
        };
        for listed in self.kinds.iter() {
            for watch in watches(listed.kind.name, &(listed.kind.resource)(), None, &listed.cache) {
                let (caches, kind) = (self.clone(), listed.kind);
                let touched = move |change: Change, _: &DynamicObject| caches.object_shown(kind, &change);
                tasks.spawn(watch.keep(Box::new(touched)));
            }
        }
        let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        for (kind, cache) in self.children.iter() {
            let kind = *kind;
            for mut watch in watches(kind.as_str(), &kind.resource(), Some(&ours), cache) {
                let caches = self.clone();
                watch.prune = Box::new(move |child| caches.prune_child(kind, child));
                let caches = self.clone();
                let touched = move |change: Change, child: &DynamicObject| caches.child_shown(kind, &change, child);
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

    fn object_shown(&self, kind: &Descriptor, change: &Change) {
        let Some(listed) = self.kinds.iter().find(|listed| listed.kind.controller == kind.controller) else { return };
        listed.queue.shown(&change.name, change.version.as_deref());
        if change.outward {
            self.wake_dependents(kind, &change.name);
        }
        if change.version.is_none() {
            listed.wake_turned_away(&change.name.namespace);
        }
    }

    /// Wakes the owner of a child. A child may also carry the label of what its owner depends on: the last kind wins.
    fn child_shown(&self, kind: ChildKind, change: &Change, child: &DynamicObject) {
        if kind == ChildKind::Deployment && change.outward {
            self.rollouts.notify_one();
        }
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
            all.filter(|(_, project)| !project.facts.refers_to.is_empty() && !project.facts.elsewhere)
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
