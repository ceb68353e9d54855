//! What every pass uses: the client, the caches, the state of the database, and what the last passes wrote.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::{
    caches::{Cached, Caches},
    failure::Failure,
    project::{IngestImage, Rollouts},
};
use crate::{
    crd::{ConditionStatus, ConditionType, Conditions, PAUSED_ANNOTATION, Reason},
    dsn::ProjectId,
    kubernetes::names::FIELD_MANAGER,
    operator::{
        databases::{
            DatabaseState, Databases, Guards,
            tombstones::{self, Tombstone, Tombstones, Unsettled},
        },
        engine::{metrics::Metrics, pass, queue::Echoes},
        objects::{
            ApplyError,
            apply::{self, Ensured},
            child::{Child, ChildKind, Drift, prune},
        },
    },
    store::StoreError,
};

/// Longest note of an Event.
const NOTE_LIMIT: usize = 1000;

/// Kind, namespace and name of a child.
type ChildKey = (ChildKind, String, String);

/// Digest of what was applied of a child, and the version that came of it.
struct Applied {
    manifest: [u8; 32],
    version: String,
}

/// Shared by all passes of the leader.
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    pub tombstones: Tombstones,
    pub image: IngestImage,
    pub metrics: Metrics,
    pub guards: Guards,
    pub rollouts: Rollouts,
    pub databases: Databases,
    /// Events are told beside the passes: nobody waits for them, and a full queue drops them.
    events: mpsc::Sender<(Event, ObjectReference)>,
    /// Versions that our own writes made: watch events about them are no news.
    echoes: Echoes,
    /// What the last applies made of the children: the API server may keep a
    /// value in another form ("1000m" as "1"), which is no drift.
    applied: Mutex<HashMap<ChildKey, Applied>>,
}

/// What a context is made from.
pub struct Parts {
    pub client: Client,
    pub caches: Caches,
    pub states: watch::Receiver<DatabaseState>,
    pub tombstones: Tombstones,
    pub metrics: Metrics,
    pub echoes: Echoes,
    pub events: mpsc::Sender<(Event, ObjectReference)>,
    pub image: IngestImage,
    pub guards: Guards,
}

impl Context {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { client, caches, states, tombstones, metrics, echoes, events, image, guards } = parts;
        Self {
            client,
            caches,
            tombstones,
            image,
            metrics,
            guards,
            rollouts: Rollouts::default(),
            databases: Databases::new(states),
            events,
            echoes,
            applied: Mutex::default(),
        }
    }

    /// Does one step of a plan and counts how it went.
    pub async fn step<T, E>(
        &self,
        controller: &str,
        step: &str,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        pass::step(&self.metrics, controller, step, doing).await
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
            (Some(last), Some(live))
                if last.manifest == digest(child)
                    && last.version == version_of(&live)
                    && child.same_metadata(&live) =>
            {
                Drift::None
            }
            _ => drift,
        }
    }

    /// Makes the child what it should be; returns it as the cache would hold it.
    pub async fn ensure(&self, child: &Child) -> Result<Ensured, ApplyError> {
        let mut ensured = apply::ensure(&self.client, child).await?;
        let live = &mut ensured.live;
        self.echoes.wrote(live.metadata.resource_version.as_deref().filter(|_| ensured.written));
        prune(child.kind, live);
        if ensured.written && child.kind != ChildKind::Secret {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.insert(child_key(child), Applied { manifest: digest(child), version: version_of(live) });
        }
        Ok(ensured)
    }

    /// Writes the status of an object, and remembers it until its cache shows it.
    pub async fn write_status<K, S>(&self, object: &K, status: &S) -> Result<(), ApplyError>
    where
        K: Cached,
        S: Serialize,
    {
        let metadata = object.meta();
        let (namespace, name) =
            (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let written = apply::write_status(&api, name, status).await?;
        if let Some(version) = &written.meta().resource_version {
            self.echoes.wrote(Some(version));
            let uid = metadata.uid.as_deref().unwrap_or_default();
            let status = serde_json::to_vec(status).unwrap_or_default();
            K::cache(&self.caches).wrote_status(namespace, name, uid, version, status);
        }
        Ok(())
    }

    /// Adds our finalizer to an object, or takes it off.
    pub async fn set_finalizer<K>(&self, object: &ObjectMeta, present: bool) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let version = apply::set_finalizer::<K>(&self.client, object, present).await?;
        self.echoes.wrote(version.as_deref());
        Ok(())
    }

    /// Forgets what was remembered of an object that goes.
    pub fn forget(&self, object: &ObjectMeta, children: &str) {
        let namespace = object.namespace.clone().unwrap_or_default();
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.retain(|(_, of, name), _| *of != namespace || name != children);
    }

    /// Does in Postgres what a deletion asks for, or writes down that it is owed. Whether it is done. A process that
    /// does not lead any more must not let the object go.
    pub async fn settle_or_record(&self, tombstone: &Tombstone) -> Result<bool, Failure> {
        match tombstones::settle(&self.databases, tombstone).await {
            Ok(()) => return Ok(true),
            Err(Unsettled::Store(error @ StoreError::Fenced { .. })) => return Err(error.into()),
            Err(error) => warn!(%tombstone, %error, "Could not finish a deletion in Postgres; it is done later."),
        }
        self.tombstones.record_tombstone(tombstone, self.databases.last_installation()).await?;
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
        let largest = self.caches.projects.cache.summaries(|all| all.map(|(_, summary)| summary.project_id).max())?;
        ProjectId::try_from(largest).ok()
    }

    /// Tells of something that happened.
    pub fn announce<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: &str) {
        self.publish(object, EventType::Normal, reason, note);
    }

    /// Warns when an object has stalled, or lost its database, and did not say so before.
    pub fn announce_changes<K: Resource<DynamicType = ()>>(
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
                self.publish(object, EventType::Warning, &condition.reason, &condition.message);
            }
        }
    }

    /// An object that cannot be read, as one that an older version stored: its status and an Event say why, and the
    /// others go on. What its status says else is left as it is.
    pub async fn report_invalid<K>(&self, metadata: &ObjectMeta, message: &str) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let message = format!("This object cannot be read, and nothing is changed until it can: {message}");
        let changed = self
            .amend_conditions::<K>(metadata, true, |conditions| {
                conditions.set(ConditionType::Ready, ConditionStatus::False, Reason::Invalid, &message);
                conditions.set_progress(None, Some((Reason::Invalid, message.clone())));
            })
            .await?;
        if changed {
            warn!(kind = %K::kind(&()), namespace = metadata.namespace, name = metadata.name, error = message, "An object cannot be read.");
            let reference = ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                ..ObjectReference::default()
            };
            self.publish_about(&reference, EventType::Warning, "Invalid", &message);
        }
        Ok(())
    }

    /// Says that nothing is done for the object until its annotation goes. The generation that was observed stays the
    /// one before: what changed meanwhile is not done.
    pub async fn report_paused<K>(&self, metadata: &ObjectMeta) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let message = format!("Nothing is changed while the annotation {PAUSED_ANNOTATION} is \"true\".");
        let pause = |conditions: &mut Conditions<'_>| {
            conditions.set(ConditionType::Paused, ConditionStatus::True, Reason::Paused, &message);
        };
        self.amend_conditions::<K>(metadata, false, pause).await.map(|_| ())
    }

    /// Writes the status as it is with other conditions; whether that changed anything.
    async fn amend_conditions<K>(
        &self,
        metadata: &ObjectMeta,
        observed: bool,
        amend: impl FnOnce(&mut Conditions<'_>),
    ) -> Result<bool, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        let (namespace, name) =
            (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let found = api.get_opt(name).await.map_err(ApplyError::kubernetes("get", "object", name))?;
        let Some(live) = found.filter(|live| live.metadata.uid == metadata.uid) else { return Ok(false) };
        let mut status = if live.data["status"].is_object() { live.data["status"].clone() } else { json!({}) };
        let before: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
        let mut conditions = Conditions::new(&before, live.metadata.generation, Timestamp::now());
        amend(&mut conditions);
        let mut after = conditions.finish();
        let kept = before.iter().filter(|old| !after.iter().any(|new| new.type_ == old.type_)).cloned();
        let kept: Vec<_> = kept.collect();
        after.extend(kept);
        if after.iter().all(|condition| before.contains(condition)) {
            return Ok(false);
        }
        status["conditions"] = json!(after);
        if observed {
            status["observedGeneration"] = json!(live.metadata.generation);
        }
        let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status});
        let written = api
            .patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch))
            .await
            .map_err(ApplyError::kubernetes("write the status of", "object", name))?;
        self.echoes.wrote(written.metadata.resource_version.as_deref());
        Ok(true)
    }

    fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, type_: EventType, reason: &str, note: &str) {
        self.publish_about(&object.object_ref(&()), type_, reason, note);
    }

    fn publish_about(&self, reference: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note.chars().take(NOTE_LIMIT).collect()),
            action: "Reconcile".into(),
            secondary: None,
        };
        if self.events.try_send((event, reference.clone())).is_err() {
            debug!(?reference, "Too many Events at once: one is not told.");
        }
    }
}

/// Events that may wait to be told.
pub const EVENTS: usize = 1_024;

/// Tells the API server of Events, one after the other, until nobody has any more.
pub async fn tell_events(client: Client, mut events: mpsc::Receiver<(Event, ObjectReference)>) {
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: None };
    let recorder = Recorder::new(client, reporter);
    while let Some((event, reference)) = events.recv().await {
        if let Err(error) = recorder.publish(&event, &reference).await {
            debug!(%error, "Could not publish an Event.");
        }
    }
    std::future::pending::<()>().await;
}

fn digest(child: &Child) -> [u8; 32] {
    Sha256::digest(child.manifest.to_string()).into()
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
