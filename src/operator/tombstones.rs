//! What deleted objects still have in Postgres when it was away at their deletion. Kept in `ConfigMap`s, since
//! the API server is there whenever an object is deleted, and settled when Postgres answers again.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};

use super::{
    Context,
    apply::{ApplyError, FIELD_MANAGER},
    database::{Database, State},
    failure::Failure,
    metrics::Metrics,
};
use crate::{crd::DeletionPolicy, store::StoreError};

/// An object that is gone, and what is owed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Tombstone {
    #[serde(rename = "ErrorTrackingProject", rename_all = "camelCase")]
    Project { uid: String, namespace: String, name: String, deletion_policy: DeletionPolicy },
    #[serde(rename_all = "camelCase")]
    ClientKey {
        uid: String,
        namespace: String,
        name: String,
        /// Secret of the project's own database, where the key is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
    },
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
    pub fn client_key(uid: &str, namespace: &str, name: &str, database: Option<String>) -> Self {
        Self::ClientKey { uid: uid.into(), namespace: namespace.into(), name: name.into(), database }
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

/// What keeps a tombstone from being settled.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database that owes it cannot be asked now.
    #[error("waits for {0}")]
    Waiting(String),
}

impl From<Unsettled> for Failure {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Store(error) => error.into(),
            Unsettled::Waiting(_) => Self::Waiting(unsettled.to_string()),
        }
    }
}

/// Does in Postgres what the deletion of the object asked for. Repeating it changes nothing.
pub async fn settle(context: &Context, tombstone: &Tombstone) -> Result<(), Unsettled> {
    let own = answering(context.database(), || "the operator's database".into());
    match tombstone {
        Tombstone::Project { uid, namespace, deletion_policy, .. } => {
            let own = own?;
            let Some(entry) = own.admin.observe_object(uid).await? else { return Ok(()) };
            let policy = (*deletion_policy).into();
            if let Some(location) = &entry.location {
                let waits = || format!("{}, login of Secret {namespace}/{}", location.server, location.secret);
                let there = answering(context.databases.state(namespace, &location.secret), waits)?;
                match there.admin.observe_object(uid).await? {
                    Some(state) => there.admin.retire_project(state.project_id, policy).await?,
                    // The Secret names another database by now, which would find nothing and take it for done.
                    None if there.server != location.server => return Err(Unsettled::Waiting(waits())),
                    None => {}
                }
            }
            own.admin.retire_project(entry.project_id, policy).await?;
        }
        Tombstone::ClientKey { uid, namespace, database: Some(secret), .. } => {
            let waits = || format!("the database of Secret {namespace}/{secret}");
            let there = answering(context.databases.state(namespace, secret), waits)?;
            there.admin.revoke_keys_of(uid).await?;
        }
        Tombstone::ClientKey { uid, .. } => {
            own?.admin.revoke_keys_of(uid).await?;
        }
    }
    Ok(())
}

fn answering(state: State, what: impl FnOnce() -> String) -> Result<Arc<Database>, Unsettled> {
    match state {
        State::Ready(database) => Ok(database),
        _ => Err(Unsettled::Waiting(what())),
    }
}

/// Most `ConfigMap`s that are filled: the API server takes 1 MiB each, about 4,000 tombstones.
const PAGES: usize = 16;
/// Tombstones after which the next `ConfigMap` is begun: every one that is added writes all of them again.
const PAGE: usize = 1_000;
/// Tombstones that are settled before the `ConfigMap` is written.
const BATCH: usize = 100;

/// Where a tombstone is, and what it says.
type Owed = (usize, Entry);

/// `ConfigMap`s: a key by uid, a tombstone as JSON. The second is begun when the first is full, and so on. Only the
/// leader writes them.
#[derive(Clone)]
pub struct Tombstones {
    api: Api<ConfigMap>,
    name: String,
    metrics: Metrics,
    /// The page that is filled now.
    filling: Arc<AtomicUsize>,
    /// What the pages held when they were read last, and what was added or taken out since.
    known: Arc<Mutex<Option<Vec<Owed>>>>,
}

impl Tombstones {
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, metrics: Metrics) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name, metrics, filling: Arc::default(), known: Arc::default() }
    }

    pub async fn bury(&self, tombstone: &Tombstone, installation: Option<String>) -> Result<(), ApplyError> {
        let entry = Entry { installation, tombstone: tombstone.clone() };
        let text = serde_json::to_string(&entry).unwrap_or_default();
        let page = self.filling.load(Ordering::Relaxed);
        let entries = self.write(page, &json!({tombstone.uid(): text})).await?;
        if entries >= PAGE && page + 1 < PAGES {
            let _begun = self.filling.compare_exchange(page, page + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        if let Some(known) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            known.push((page, entry));
            self.metrics.tombstones.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Settles what is owed; what cannot be done now stays.
    pub async fn settle_all(&self, context: &Context) -> Result<(), ApplyError> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let owed = self.owed().await?;
        for batch in owed.chunks(BATCH) {
            let mut settled = Vec::new();
            for owed in batch.iter().filter(|(_, entry)| is_owed_here(entry, context)) {
                let tombstone = &owed.1.tombstone;
                match settle(context, tombstone).await {
                    Ok(()) => {
                        settled.push(owed);
                        info!(%tombstone, "Settled what a deleted object had left in Postgres.");
                    }
                    Err(error) => warn!(%tombstone, %error, "Could not settle a tombstone; trying again."),
                }
            }
            self.remove(&settled).await?;
        }
        Ok(())
    }

    /// Settles what objects of this name left, before a new one takes anything over that should be gone.
    pub async fn settle_for(&self, context: &Context, namespace: &str, name: &str) -> Result<(), Failure> {
        let owed = self.owed().await?;
        let mut settled = Vec::new();
        for owed in owed.iter().filter(|(_, entry)| entry.tombstone.is_of(namespace, name)) {
            if is_owed_here(&owed.1, context) {
                settle(context, &owed.1.tombstone).await?;
                settled.push(owed);
            }
        }
        Ok(self.remove(&settled).await?)
    }

    async fn owed(&self) -> Result<Vec<Owed>, ApplyError> {
        if let Some(known) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(known.clone());
        }
        let owed = read_pages(&self.api, &self.name).await?;
        self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(owed.clone());
        Ok(owed)
    }

    async fn remove(&self, settled: &[&Owed]) -> Result<(), ApplyError> {
        let pages: BTreeSet<usize> = settled.iter().map(|(page, _)| *page).collect();
        for page in pages {
            let gone = settled.iter().filter(|(of, _)| *of == page);
            let removal = gone.map(|(_, entry)| (entry.tombstone.uid().to_owned(), serde_json::Value::Null));
            self.write(page, &removal.collect::<serde_json::Map<_, _>>().into()).await?;
        }
        if let Some(known) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            known.retain(|owed| !settled.contains(&owed));
            self.metrics.tombstones.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Merges `data` into the page; how many entries it has then.
    async fn write(&self, page: usize, data: &serde_json::Value) -> Result<usize, ApplyError> {
        let name = page_name(&self.name, page);
        let failed = |verb, source| ApplyError::Kubernetes {
            verb,
            kind: "ConfigMap",
            name: name.clone(),
            source: Box::new(source),
        };
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patched = self.api.patch(&name, &parameters, &Patch::Merge(&json!({"data": data}))).await;
        let written = match patched {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let new: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))
                    .map_err(|source| failed("write", kube::Error::SerdeError(source)))?;
                match self.api.create(&PostParams::default(), &new).await {
                    // Another pass was first.
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        self.api.patch(&name, &parameters, &Patch::Merge(&json!({"data": data}))).await
                    }
                    created => created,
                }
            }
            patched => patched,
        };
        let written = written.map_err(|source| failed("write", source))?;
        Ok(written.data.map(|data| data.len()).unwrap_or_default())
    }
}

/// Whether the operator's database of now owes it: another one would find nothing and take it for done.
fn is_owed_here(entry: &Entry, context: &Context) -> bool {
    let State::Ready(own) = context.database() else { return false };
    entry.installation.as_deref().is_none_or(|installation| installation == own.admin.installation().as_str())
}

/// The first keeps the name that it had when there was one.
fn page_name(name: &str, page: usize) -> String {
    if page == 0 { name.to_owned() } else { format!("{name}-{page}") }
}

/// Every tombstone, with the page that it is on. Pages are begun in order.
async fn read_pages(api: &Api<ConfigMap>, name: &str) -> Result<Vec<Owed>, ApplyError> {
    let mut owed = Vec::new();
    for page in 0..PAGES {
        let name = page_name(name, page);
        let found = api.get_opt(&name).await.map_err(|source| ApplyError::Kubernetes {
            verb: "read",
            kind: "ConfigMap",
            name: name.clone(),
            source: Box::new(source),
        })?;
        let Some(found) = found else { break };
        let read = |(uid, text): (String, String)| {
            serde_json::from_str(&text)
                .inspect_err(|error| warn!(uid, %error, "A tombstone cannot be read; it is left alone."))
                .ok()
        };
        owed.extend(found.data.unwrap_or_default().into_iter().filter_map(read).map(|entry| (page, entry)));
    }
    Ok(owed)
}

/// What is owed, for a list.
pub async fn list(client: Client, namespace: &str, lease: &str) -> Result<Vec<Tombstone>, ApplyError> {
    let owed = read_pages(&Api::namespaced(client, namespace), &config_map_name(lease)).await?;
    Ok(owed.into_iter().map(|(_, entry)| entry.tombstone).collect())
}

/// Name of the first `ConfigMap`.
#[must_use]
pub fn config_map_name(lease: &str) -> String {
    format!("{lease}-tombstones")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_is_far_below_what_the_api_server_takes() {
        let long = "n".repeat(63);
        let uid = "01234567-89ab-cdef-0123-456789abcdef";
        let tombstone = Tombstone::client_key(uid, &long, &long[..40], Some("s".repeat(253)));
        let entry = Entry { installation: Some("01234567".into()), tombstone };
        let text = serde_json::to_string(&entry).unwrap();
        // The key stands in the data and, as a field that somebody owns, in the metadata.
        let size = text.len() + 2 * uid.len() + 32;
        assert!(size * PAGE < 1 << 20, "{size}");
        let usual = Tombstone::client_key(uid, "web", "shop", None);
        let usual = serde_json::to_string(&Entry { installation: Some("01234567".into()), tombstone: usual }).unwrap();
        assert!((usual.len() + 2 * uid.len() + 32) * 4_000 < 1 << 20, "{}", usual.len());
    }

    #[test]
    fn tombstones_of_before_are_read() {
        let text = r#"{"installation":"1a2b3c4d","kind":"clientKey","uid":"u","namespace":"web","name":"shop"}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!(entry.tombstone, Tombstone::client_key("u", "web", "shop", None));
    }
}
