//! What every pass uses: the client, the caches, the state of the database, and what the last passes wrote.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    api::core::v1::{Namespace, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{
    Config,
    apply::{self, ApplyError},
    child::{Child, ChildKind, Drift, prune},
    database::State,
    databases::Databases,
    failure::Failure,
    fault::{self, When},
    guards::Guards,
    metrics::Metrics,
    project::IngestImage,
    tombstones::{self, Tombstone, Tombstones, Unsettled},
    watches::Caches,
};
use crate::{crd::ErrorTrackingProject, dsn::ProjectId, store::StoreError};

/// Longest note of an Event.
const NOTE_LIMIT: usize = 1000;

/// Kind, namespace and name of a child.
type ChildKey = (ChildKind, String, String);

/// What was applied of a child, and the version that came of it.
struct Applied {
    manifest: Value,
    version: String,
}

/// Shared by all passes of the leader.
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    pub tombstones: Tombstones,
    pub image: IngestImage,
    pub metrics: Metrics,
    pub concurrency: u16,
    pub guards: Guards,
    /// Those that projects name.
    pub databases: Databases,
    states: watch::Receiver<State>,
    recorder: Recorder,
    /// Of the database that was reached last: who owes what a deletion leaves.
    installation: Mutex<Option<String>>,
    /// Status by uid with the version it was written as: a cache that lags must not make us write it again.
    statuses: Mutex<HashMap<String, (String, Value)>>,
    /// What the last applies made of the children: the API server may keep a
    /// value in another form ("1000m" as "1"), which is no drift.
    applied: Mutex<HashMap<ChildKey, Applied>>,
}

impl Context {
    #[must_use]
    pub fn new(
        client: Client,
        caches: Caches,
        states: watch::Receiver<State>,
        tombstones: Tombstones,
        image: IngestImage,
        metrics: Metrics,
        config: &Config,
    ) -> Self {
        let reporter = Reporter { controller: "error-tracking-operator".into(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            client,
            caches,
            tombstones,
            image,
            metrics,
            concurrency: config.concurrency,
            guards: config.guards.clone(),
            databases: Databases::default(),
            states,
            recorder,
            installation: Mutex::default(),
            statuses: Mutex::default(),
            applied: Mutex::default(),
        }
    }

    #[must_use]
    pub fn database(&self) -> State {
        let state = self.states.borrow().clone();
        if let State::Ready(database) = &state {
            let mut installation = self.installation.lock().unwrap_or_else(PoisonError::into_inner);
            let reached = database.admin.installation().as_str();
            if installation.as_deref() != Some(reached) {
                *installation = Some(reached.to_owned());
            }
        }
        state
    }

    /// The database that the project's events are in.
    #[must_use]
    pub fn database_of(&self, project: &ErrorTrackingProject) -> State {
        match project.database_secret() {
            Some(secret) => self.databases.state(&project.namespace().unwrap_or_default(), secret),
            None => self.database(),
        }
    }

    #[must_use]
    pub fn database_states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// Does one step of a plan and counts how it went.
    pub async fn step<T, E>(
        &self,
        controller: &str,
        step: &str,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        fault::point(controller, step, When::Before);
        let result = doing.await;
        fault::point(controller, step, When::After);
        let outcome = if result.is_ok() { "applied" } else { "failed" };
        self.metrics.steps.with_label_values(&[controller, step, outcome]).inc();
        result
    }

    /// How the child differs from what it should be. What the last apply made of it is no difference.
    #[must_use]
    pub fn drift(&self, child: &Child, live: Option<Arc<DynamicObject>>) -> Drift {
        let drift = child.compare(live.as_deref());
        if drift != Drift::Changed {
            return drift;
        }
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        match (applied.get(&child_key(child)), live) {
            (Some(last), Some(live)) if last.manifest == child.manifest && last.version == version_of(&live) => {
                Drift::None
            }
            _ => drift,
        }
    }

    /// Makes the child what it should be; returns it as the cache would hold it, `None` when nothing was to do.
    pub async fn ensure(&self, child: &Child) -> Result<Option<DynamicObject>, ApplyError> {
        let Some(mut live) = apply::ensure(&self.client, child).await? else { return Ok(None) };
        prune(child.kind, &mut live);
        if child.kind != ChildKind::Secret {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.insert(child_key(child), Applied { manifest: child.manifest.clone(), version: version_of(&live) });
        }
        Ok(Some(live))
    }

    /// The status that is on the API server: the cached one, or the one that this process wrote after it.
    #[must_use]
    pub fn status_before<K, S>(&self, object: &K, cached: Option<S>) -> S
    where
        K: Resource,
        S: DeserializeOwned + Default,
    {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        let version = |text: &str| text.parse::<u64>().ok();
        let seen = object.meta().resource_version.as_deref().and_then(version);
        if statuses.get(uid).is_some_and(|(written, _)| version(written) <= seen) {
            statuses.remove(uid);
        }
        let newer = statuses.get(uid).and_then(|(_, status)| serde_json::from_value(status.clone()).ok());
        newer.or(cached).unwrap_or_default()
    }

    pub fn remember_status<S: Serialize>(&self, uid: &str, version: Option<String>, status: &S) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(version), Ok(status)) = (version, serde_json::to_value(status)) {
            statuses.insert(uid.into(), (version, status));
        }
    }

    /// Forgets what was remembered of an object that goes.
    pub fn forget(&self, object: &ObjectMeta, children: &str) {
        let namespace = object.namespace.clone().unwrap_or_default();
        let uid = object.uid.as_deref().unwrap_or_default();
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.retain(|(_, of, name), _| *of != namespace || name != children);
    }

    /// Does in Postgres what a deletion asks for, or writes down that it is owed. Whether it is done. A process that
    /// does not lead any more must not let the object go.
    pub async fn settle_or_bury(&self, tombstone: &Tombstone) -> Result<bool, Failure> {
        match tombstones::settle(self, tombstone).await {
            Ok(()) => return Ok(true),
            Err(Unsettled::Store(error @ StoreError::Fenced { .. })) => return Err(error.into()),
            Err(error) => warn!(%tombstone, %error, "Could not finish a deletion in Postgres; it is done later."),
        }
        let installation = self.installation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.tombstones.bury(tombstone, installation).await?;
        info!(%tombstone, "What a deleted object has in Postgres is settled later.");
        Ok(false)
    }

    /// Distinguishes a namespace from one of the same name that was there before.
    pub async fn namespace_uid(&self, namespace: &str) -> Result<String, ApplyError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = api.get(namespace).await.map_err(|source| ApplyError::Kubernetes {
            verb: "get",
            kind: "Namespace",
            name: namespace.into(),
            source: Box::new(source),
        })?;
        Ok(found.uid().unwrap_or_default())
    }

    /// The largest number that any status names: new ones start above it, even after a restore of Postgres.
    #[must_use]
    pub fn largest_project_id(&self) -> Option<ProjectId> {
        let projects = self.caches.projects.state();
        let ids = projects.iter().filter_map(|project| project.0.as_ref().ok()?.status.as_ref()?.project_id);
        ids.filter_map(|id| ProjectId::try_from(id).ok()).max()
    }

    /// Tells of something that happened.
    pub async fn announce<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: &str) {
        self.publish(object, EventType::Normal, reason, note).await;
    }

    /// Warns when an object has stalled, or lost its database, and did not say so before.
    pub async fn announce_changes<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        before: &[Condition],
        after: &[Condition],
    ) {
        let wrong = |condition: &&Condition| match condition.type_.as_str() {
            "Stalled" => condition.status == "True",
            "DatabaseReady" | "IngestReady" => condition.status == "False" && condition.reason != "Progressing",
            "SecretPublished" => matches!(condition.reason.as_str(), "ProjectNotFound" | "ProjectDeleted"),
            _ => false,
        };
        let quiet = ["WaitingForPods", "ScaledToZero"];
        for condition in after.iter().filter(wrong).filter(|condition| !quiet.contains(&condition.reason.as_str())) {
            let said = before.iter().any(|old| old.type_ == condition.type_ && old.reason == condition.reason);
            if !said {
                self.publish(object, EventType::Warning, &condition.reason, &condition.message).await;
            }
        }
    }

    /// An object that does not even parse: the user sees why, and the others go on.
    pub async fn report_invalid<K: Resource<DynamicType = ()>>(&self, metadata: &ObjectMeta, message: &str) {
        let kind = K::kind(&());
        warn!(%kind, namespace = metadata.namespace, name = metadata.name, error = message, "An object cannot be read.");
        let reference = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(kind.into_owned()),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.publish_about(&reference, EventType::Warning, "Invalid", message).await;
    }

    async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, type_: EventType, reason: &str, note: &str) {
        self.publish_about(&object.object_ref(&()), type_, reason, note).await;
    }

    async fn publish_about(&self, reference: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note.chars().take(NOTE_LIMIT).collect()),
            action: "Reconcile".into(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, reference).await {
            debug!(%error, "Could not publish an Event.");
        }
    }
}

/// Namespace and name of an object, read or not.
#[must_use]
pub fn identity<K: Resource>(object: &K) -> (String, String) {
    (object.meta().namespace.clone().unwrap_or_default(), object.meta().name.clone().unwrap_or_default())
}

fn child_key(child: &Child) -> ChildKey {
    (child.kind, child.namespace.clone(), child.name.clone())
}

/// What changes with the spec, not with the status; kinds without a generation have only the resource version.
fn version_of(object: &DynamicObject) -> String {
    match object.metadata.generation {
        Some(generation) => format!("generation {generation}"),
        None => object.metadata.resource_version.clone().unwrap_or_default(),
    }
}
