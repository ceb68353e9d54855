//! Statuses and finalizers of custom resources, of any kind.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::events::EventType,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tracing::warn;

use super::{ApplyError, apply, events::EventRecorder};
use crate::{
    crd::{ConditionStatus, ConditionType, Conditions, PAUSED_ANNOTATION, Reason},
    kubernetes::names::FIELD_MANAGER,
    operator::{cluster::cache::Cache, engine::queue::Echoes},
};

/// Writes what the operator says of an object into the object.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
    echoes: Echoes,
    events: EventRecorder,
}

impl StatusWriter {
    #[must_use]
    pub fn new(client: Client, echoes: Echoes, events: EventRecorder) -> Self {
        Self { client, echoes, events }
    }

    /// Writes the status of an object. Its cache remembers it until the watch shows it.
    pub async fn write<K, S>(&self, cache: &Cache, object: &K, status: &S) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        S: Serialize,
    {
        let metadata = object.meta();
        let (namespace, name) = names(metadata);
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let written = apply::write_status(&api, name, status).await?;
        if let Some(version) = &written.meta().resource_version {
            self.echoes.wrote(Some(version));
            let uid = metadata.uid.as_deref().unwrap_or_default();
            let status = serde_json::to_vec(status).unwrap_or_default();
            cache.wrote_status(namespace, name, uid, version, status);
        }
        Ok(())
    }

    /// Adds our finalizer to an object, or takes it off.
    pub async fn set_finalizer<K>(&self, object: &ObjectMeta, present: bool) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let version = apply::set_finalizer(&self.client, &ApiResource::erase::<K>(&()), object, present).await?;
        self.echoes.wrote(version.as_deref());
        Ok(())
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
            warn!(error = message, "The object cannot be read.");
            let reference = ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                ..ObjectReference::default()
            };
            self.events.publish(&reference, EventType::Warning, "Reconcile", Reason::Invalid.as_str(), &message);
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
        let (namespace, name) = names(metadata);
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
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}
