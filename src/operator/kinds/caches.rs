//! What the operator knows of the cluster without asking: a watch for each kind, of ours and of children, that feeds a
//! cache and the queues of the controllers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::{ApiResource, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::{
    crd::{ClientKey, ClientKeyStatus, ErrorTrackingProject, ErrorTrackingProjectStatus},
    dsn::ProjectId,
    kubernetes::names::{CLIENT_KEY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, PROJECT_LABEL},
    operator::{
        cluster::{
            Guarded, Resources,
            cache::{Cache, Change},
            prune_metadata,
            watch::{Contents, Touched, Watch},
        },
        databases::{Dependents, SecretName},
        engine::{
            metrics::Metrics,
            queue::{ObjectName, Queue, Urgency},
        },
        objects::child::{ChildKind, prune},
    },
    telemetry::Liveness,
};

/// Objects to reconcile, one queue a kind.
#[derive(Clone, Debug)]
pub struct Queues {
    pub projects: Arc<Queue>,
    pub keys: Arc<Queue>,
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

    /// The largest number that any status names: new ones start above it, even after a restore of Postgres.
    #[must_use]
    pub fn largest_project_id(&self) -> Option<ProjectId> {
        let largest = self.projects.cache.summaries(|all| all.map(|(_, summary)| summary.project_id).max())?;
        ProjectId::try_from(largest).ok()
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
        contents: Contents::Whole,
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

/// What depends on the databases that projects name.
pub struct Users {
    pub caches: Caches,
    pub queues: Queues,
}

impl Dependents for Users {
    fn named(&self) -> BTreeSet<SecretName> {
        self.caches.projects.cache.summaries(|all| {
            all.filter(|(_, project)| !project.refers_to.is_empty())
                .map(|(name, project)| (name.namespace.to_string(), project.refers_to.to_string()))
                .collect()
        })
    }

    fn wake(&self, (namespace, secret): &SecretName) {
        for project in self.caches.projects.cache.referring(namespace, secret) {
            self.queues.projects.push(&project, Urgency::Changed);
            for key in self.caches.keys.cache.referring(namespace, &project.name) {
                self.queues.keys.push(&key, Urgency::Changed);
            }
        }
    }
}
