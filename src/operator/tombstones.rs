//! What deleted objects still have in Postgres when it was away at their deletion. Kept in a `ConfigMap`, since
//! the API server is there whenever an object is deleted, and settled when Postgres answers again.

use std::fmt;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};

use super::{
    apply::{ApplyError, FIELD_MANAGER, kube_message},
    failure::Failure,
    metrics::Metrics,
};
use crate::{
    crd::DeletionPolicy,
    store::{Admin, StoreError},
};

/// An object that is gone, and what is owed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Tombstone {
    #[serde(rename = "ErrorTrackingProject", rename_all = "camelCase")]
    Project { uid: String, namespace: String, name: String, deletion_policy: DeletionPolicy },
    #[serde(rename_all = "camelCase")]
    ClientKey { uid: String, namespace: String, name: String },
}

/// A tombstone as it is kept: what it is owed is owed by one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Installation of the database that the object was in; absent when this process never reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installation: Option<String>,
    #[serde(flatten)]
    tombstone: Tombstone,
}

impl fmt::Display for Tombstone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project { namespace, name, .. } => write!(formatter, "ErrorTrackingProject {namespace}/{name}"),
            Self::ClientKey { namespace, name, .. } => write!(formatter, "ClientKey {namespace}/{name}"),
        }
    }
}

impl Tombstone {
    #[must_use]
    pub fn project(uid: &str, namespace: &str, name: &str, deletion_policy: DeletionPolicy) -> Self {
        Self::Project { uid: uid.into(), namespace: namespace.into(), name: name.into(), deletion_policy }
    }

    #[must_use]
    pub fn client_key(uid: &str, namespace: &str, name: &str) -> Self {
        Self::ClientKey { uid: uid.into(), namespace: namespace.into(), name: name.into() }
    }

    fn is_of(&self, of_namespace: &str, of_name: &str) -> bool {
        match self {
            Self::Project { namespace, name, .. } | Self::ClientKey { namespace, name, .. } => {
                namespace == of_namespace && name == of_name
            }
        }
    }

    fn uid(&self) -> &str {
        match self {
            Self::Project { uid, .. } | Self::ClientKey { uid, .. } => uid,
        }
    }
}

/// What this database owes: another one would find nothing and take it for done.
fn owed_by<'a>(owed: &'a [Entry], admin: &'a Admin) -> impl Iterator<Item = &'a Tombstone> {
    let here = admin.installation().as_str();
    owed.iter()
        .filter(move |entry| entry.installation.as_deref().is_none_or(|installation| installation == here))
        .map(|entry| &entry.tombstone)
}

/// Does in Postgres what the deletion of the object asked for. Repeating it changes nothing.
pub async fn settle(admin: &Admin, tombstone: &Tombstone) -> Result<(), StoreError> {
    match tombstone {
        Tombstone::Project { uid, deletion_policy, .. } => match admin.observe_object(uid).await? {
            Some(state) => admin.retire_project(state.project_id, (*deletion_policy).into()).await,
            None => Ok(()),
        },
        Tombstone::ClientKey { uid, .. } => admin.revoke_keys_of(uid).await.map(|_| ()),
    }
}

/// The `ConfigMap`: a key by uid, a tombstone as JSON.
#[derive(Clone, Debug)]
pub struct Tombstones {
    api: Api<ConfigMap>,
    name: String,
    metrics: Metrics,
}

impl Tombstones {
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, metrics: Metrics) -> Self {
        Self { api: Api::namespaced(client, namespace), name, metrics }
    }

    pub async fn bury(&self, tombstone: &Tombstone, installation: Option<String>) -> Result<(), ApplyError> {
        let entry = Entry { installation, tombstone: tombstone.clone() };
        let text = serde_json::to_string(&entry).unwrap_or_default();
        // A field manager an entry: an apply takes away what its manager applied before.
        let manager = format!("{FIELD_MANAGER}/{}", tombstone.uid());
        let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": {tombstone.uid(): text}});
        self.api
            .patch(&self.name, &PatchParams::apply(&manager).force(), &Patch::Apply(&patch))
            .await
            .map(|_| ())
            .map_err(|source| self.failed("write", source))
    }

    /// Settles what is owed; what cannot be done now stays.
    pub async fn settle_all(&self, admin: &Admin) -> Result<(), ApplyError> {
        let owed = self.owed().await?;
        self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
        for tombstone in owed_by(&owed, admin) {
            match settle(admin, tombstone).await {
                Ok(()) => {
                    self.remove(tombstone).await?;
                    info!(%tombstone, "Settled what a deleted object had left in Postgres.");
                }
                Err(error) => warn!(%tombstone, %error, "Could not settle a tombstone; trying again."),
            }
        }
        Ok(())
    }

    /// Settles what objects of this name left, before a new one takes anything over that should be gone.
    pub async fn settle_for(&self, admin: &Admin, namespace: &str, name: &str) -> Result<(), Failure> {
        let owed = self.owed().await?;
        for tombstone in owed_by(&owed, admin).filter(|tombstone| tombstone.is_of(namespace, name)) {
            settle(admin, tombstone).await?;
            self.remove(tombstone).await?;
        }
        Ok(())
    }

    async fn owed(&self) -> Result<Vec<Entry>, ApplyError> {
        let found = self.api.get_opt(&self.name).await.map_err(|source| self.failed("read", source))?;
        let owed = found.and_then(|config_map| config_map.data).unwrap_or_default();
        let read = |(uid, text): (String, String)| {
            serde_json::from_str(&text)
                .inspect_err(|error| warn!(uid, %error, "A tombstone cannot be read; it is left alone."))
                .ok()
        };
        Ok(owed.into_iter().filter_map(read).collect())
    }

    async fn remove(&self, tombstone: &Tombstone) -> Result<(), ApplyError> {
        let removal = json!({"data": {tombstone.uid(): null}});
        let removed = self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&removal)).await;
        self.metrics.tombstones.dec();
        removed.map(|_| ()).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, verb: &'static str, source: kube::Error) -> ApplyError {
        tracing::debug!(error = kube_message(&source), "The tombstones could not be reached.");
        ApplyError::Kubernetes { verb, kind: "ConfigMap", name: self.name.clone(), source: Box::new(source) }
    }
}
