//! What deleted objects still have in Postgres when it was away at their deletion. Kept in `ConfigMap`s, since
//! the API server is there whenever an object is deleted, and settled when Postgres answers again.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ObjectReference};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::{
    Context,
    apply::{ApplyError, FIELD_MANAGER},
    database::{Database, State},
    failure::Failure,
    metrics::Metrics,
};
use crate::{
    crd::{ClientKey, DeletionPolicy, ErrorTrackingProject},
    store::StoreError,
};

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
        /// The key's project, when only the catalog can say which database that had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
}

/// A kind that leaves tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Project,
    ClientKey,
}

/// A new object, which may have the name of one that left something.
#[derive(Clone, Copy, Debug)]
pub struct Successor<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Secret of the project's own database.
    pub database: Option<&'a str>,
}

/// A tombstone as it is kept: what it is owed is owed by one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// Installation of the database that the object was in; absent when this process never reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installation: Option<String>,
    /// Of the object's namespace: what is owed in its databases is owed no more when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_uid: Option<String>,
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
        Self::ClientKey { uid: uid.into(), namespace: namespace.into(), name: name.into(), database, project: None }
    }

    /// Of a key whose project is gone: the catalog says where that one was.
    #[must_use]
    pub fn client_key_of(uid: &str, namespace: &str, name: &str, project: &str) -> Self {
        let project = Some(project.to_owned());
        Self::ClientKey { uid: uid.into(), namespace: namespace.into(), name: name.into(), database: None, project }
    }

    fn is_of(&self, new: &Successor<'_>) -> bool {
        let kind = match self {
            Self::Project { .. } => Kind::Project,
            Self::ClientKey { .. } => Kind::ClientKey,
        };
        (kind, self.namespace(), self.name()) == (new.kind, new.namespace, new.name)
    }

    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Project { uid, .. } | Self::ClientKey { uid, .. } => uid,
        }
    }

    fn namespace(&self) -> &str {
        match self {
            Self::Project { namespace, .. } | Self::ClientKey { namespace, .. } => namespace,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Project { name, .. } | Self::ClientKey { name, .. } => name,
        }
    }

    /// The database that a key is in; `None` for those of the operator's, and for projects, of which the catalog knows.
    fn database(&self) -> Option<&str> {
        match self {
            Self::ClientKey { database, .. } => database.as_deref(),
            Self::Project { .. } => None,
        }
    }

    /// For the Event about it.
    fn reference(&self) -> ObjectReference {
        let (api_version, kind) = match self {
            Self::Project { .. } => (ErrorTrackingProject::api_version(&()), ErrorTrackingProject::kind(&())),
            Self::ClientKey { .. } => (ClientKey::api_version(&()), ClientKey::kind(&())),
        };
        ObjectReference {
            api_version: Some(api_version.into_owned()),
            kind: Some(kind.into_owned()),
            namespace: Some(self.namespace().to_owned()),
            name: Some(self.name().to_owned()),
            uid: Some(self.uid().to_owned()),
            ..ObjectReference::default()
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
            let Some((id, location)) = own.admin.place_of_object(uid).await? else { return Ok(()) };
            let policy = (*deletion_policy).into();
            if let Some(location) = &location {
                let waits = || format!("{}, login of Secret {namespace}/{}", location.server, location.secret);
                let there = answering(context.databases.state(namespace, &location.secret), waits)?;
                match there.admin.observe_object(uid).await? {
                    Some(state) => there.admin.retire_project_of(state.project_id, uid, policy).await?,
                    // The Secret names another database by now, which would find nothing and take it for done.
                    None if there.server != location.server => return Err(Unsettled::Waiting(waits())),
                    None => {}
                }
            }
            own.admin.retire_project_of(id, uid, policy).await?;
            if location.is_some() && *deletion_policy == DeletionPolicy::Delete {
                own.admin.record_location(id, None).await?;
            }
        }
        Tombstone::ClientKey { uid, namespace, database: Some(secret), .. } => {
            let waits = || format!("the database of Secret {namespace}/{secret}");
            let there = answering(context.databases.state(namespace, secret), waits)?;
            there.admin.revoke_keys_of(uid).await?;
        }
        Tombstone::ClientKey { uid, namespace, project, .. } => {
            let own = own?;
            own.admin.revoke_keys_of(uid).await?;
            let Some(project) = project else { return Ok(()) };
            let mut waiting = None;
            for secret in own.admin.secrets_of_projects(namespace, project).await? {
                let waits = || format!("the database of Secret {namespace}/{secret}");
                match answering(context.databases.state(namespace, &secret), waits) {
                    Ok(there) => _ = there.admin.revoke_keys_of(uid).await?,
                    Err(waits) => waiting = Some(waits),
                }
            }
            if let Some(waits) = waiting {
                return Err(waits);
            }
        }
    }
    Ok(())
}

/// Settles what stands in the way of the new object. What is owed in a database that it does not use stays owed, and
/// keeps nobody waiting. Whether all is settled.
async fn settle_before(context: &Context, tombstone: &Tombstone, new: &Successor<'_>) -> Result<bool, Failure> {
    match tombstone {
        Tombstone::ClientKey { database, project: None, .. } if database.as_deref() != new.database => {
            return Ok(false);
        }
        Tombstone::Project { uid, namespace, deletion_policy, .. } => {
            let own = answering(context.database(), || "the operator's database".into())?;
            if let Some((id, location)) = own.admin.place_of_object(uid).await?
                && let Some(location) = location
                && (new.database != Some(&*location.secret)
                    || answering(context.databases.state(namespace, &location.secret), String::new)
                        .is_ok_and(|there| there.server != location.server))
            {
                // The number is given back, or kept, as was asked for.
                own.admin.retire_project_of(id, uid, (*deletion_policy).into()).await?;
                return Ok(false);
            }
        }
        Tombstone::ClientKey { .. } => {}
    }
    match settle(context, tombstone).await {
        // It was revoked where the new one will be, which answers.
        Err(Unsettled::Waiting(_)) if matches!(tombstone, Tombstone::ClientKey { project: Some(_), .. }) => Ok(false),
        settled => Ok(settled.map(|()| true)?),
    }
}

fn answering(state: State, what: impl FnOnce() -> String) -> Result<Arc<Database>, Unsettled> {
    match state {
        State::Ready(database) => Ok(database),
        _ => Err(Unsettled::Waiting(what())),
    }
}

/// Most `ConfigMap`s that are filled: the API server takes 1 MiB each, about 3,500 tombstones.
const PAGES: usize = 16;
/// Tombstones after which the next `ConfigMap` is begun: every one that is added writes all of them again.
const PAGE: usize = 1_000;
/// Tombstones that are settled before the `ConfigMap` is written.
const BATCH: usize = 100;

/// A database that does not answer keeps the others waiting no longer than this. Dropping a large schema takes seconds.
const SETTLING: Duration = Duration::from_mins(1);
/// Pause between attempts for an object whose namespace is gone.
const HOPELESS: Duration = Duration::from_mins(10);

/// Where a tombstone is, and what it says.
type Owed = (usize, Entry);

/// What the pages held when they were read last, and what was added or taken out since.
#[derive(Default)]
struct Known {
    owed: Option<Vec<Owed>>,
    /// Rises with every change: what was read before one is not what there is.
    changes: u64,
}

/// `ConfigMap`s: a key by uid, a tombstone as JSON. The second is begun when the first is full, and so on. Only the
/// leader writes them.
#[derive(Clone)]
pub struct Tombstones {
    client: Client,
    api: Api<ConfigMap>,
    name: String,
    metrics: Metrics,
    /// The page that is filled now.
    filling: Arc<AtomicUsize>,
    known: Arc<Mutex<Known>>,
    /// When those are tried again whose namespace is gone, by uid.
    resting: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Tombstones {
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, metrics: Metrics) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        let (filling, known, resting) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, api, name, metrics, filling, known, resting }
    }

    /// Writes down what is owed. When there is no room for it, that is told and the object goes all the same.
    pub async fn bury(&self, tombstone: &Tombstone, installation: Option<String>) -> Result<(), ApplyError> {
        let namespace_uid = self.namespace_uid(tombstone.namespace()).await.unwrap_or_default();
        let entry = Entry { installation, namespace_uid, tombstone: tombstone.clone() };
        let data = json!({tombstone.uid(): serde_json::to_string(&entry).unwrap_or_default()});
        let page = self.filling.load(Ordering::Relaxed);
        let (page, entries) = match self.write(page, &data).await {
            Ok(entries) => (page, entries),
            Err(error) if is_full(&error) => {
                let Some(page) = self.make_room().await? else { return self.give_up(tombstone).await };
                match self.write(page, &data).await {
                    Ok(entries) => (page, entries),
                    Err(error) if is_full(&error) => return self.give_up(tombstone).await,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        if entries >= PAGE && page + 1 < PAGES {
            let _begun = self.filling.compare_exchange(page, page + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.change(|known| {
            let buried = (page, entry);
            if !known.contains(&buried) {
                known.push(buried);
            }
        });
        Ok(())
    }

    /// A page with room: one that was emptied since, or one of which what nobody can ever settle was taken out.
    async fn make_room(&self) -> Result<Option<usize>, ApplyError> {
        let owed = self.owed().await?;
        let mut sizes = vec![0; owed.iter().map(|(page, _)| page + 1).max().unwrap_or_default()];
        for (page, _) in &owed {
            sizes[*page] += 1;
        }
        if let Some((page, _)) =
            sizes.iter().enumerate().min_by_key(|(_, size)| **size).filter(|(_, size)| **size < PAGE)
        {
            return Ok(Some(page));
        }
        let mut namespaces = HashMap::new();
        let mut hopeless = Vec::new();
        for owed in owed.iter().filter(|(_, entry)| entry.tombstone.database().is_some()) {
            if hopeless.len() < BATCH && self.is_gone(&owed.1, &mut namespaces).await {
                hopeless.push(owed);
            }
        }
        let page = hopeless.first().map(|(page, _)| *page);
        warn!(dropped = hopeless.len(), "No room for tombstones: dropped those of keys in databases that are gone.");
        self.remove(&hopeless).await?;
        Ok(page)
    }

    /// An object never waits for a database, nor for room.
    async fn give_up(&self, tombstone: &Tombstone) -> Result<(), ApplyError> {
        error!(%tombstone, uid = tombstone.uid(), "No room for another tombstone: what the object has in Postgres stays there.");
        let event = Event {
            type_: EventType::Warning,
            reason: "TombstoneLost".into(),
            note: Some(
                "Postgres was away at the deletion, and there is no room to remember it: what the object has there stays \
                 until somebody removes it."
                    .into(),
            ),
            action: "Delete".into(),
            secondary: None,
        };
        let recorder =
            Recorder::new(self.client.clone(), Reporter { controller: FIELD_MANAGER.into(), instance: None });
        if let Err(error) = recorder.publish(&event, &tombstone.reference()).await {
            warn!(%error, "Could not publish an Event.");
        }
        Ok(())
    }

    /// Settles what is owed; what cannot be done now stays.
    pub async fn settle_all(&self, context: &Context) -> Result<(), ApplyError> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).owed = None;
        let owed = self.owed().await?;
        let mut silent = BTreeSet::new();
        let mut namespaces = HashMap::new();
        for batch in owed.chunks(BATCH) {
            let mut settled = Vec::new();
            for owed in batch.iter().filter(|(_, entry)| is_owed_here(entry, context)) {
                let tombstone = &owed.1.tombstone;
                let place = (tombstone.namespace(), tombstone.database());
                if silent.contains(&place) || self.rests(tombstone.uid()) {
                    continue;
                }
                match timeout(SETTLING, settle(context, tombstone)).await {
                    Ok(Ok(())) => {
                        settled.push(owed);
                        info!(%tombstone, "Settled what a deleted object had left in Postgres.");
                    }
                    Err(_) => {
                        warn!(%tombstone, "Postgres did not answer about a tombstone; trying again.");
                        silent.insert(place);
                    }
                    Ok(Err(error)) if self.is_gone(&owed.1, &mut namespaces).await => {
                        if tombstone.database().is_some() && matches!(error, Unsettled::Waiting(_)) {
                            settled.push(owed);
                            info!(%tombstone, "The namespace is gone, and with it the way to the database: its key is forgotten.");
                        } else if self.rest(tombstone.uid()) {
                            warn!(%tombstone, %error, "Could not settle a tombstone, and its namespace is gone; trying again now and then.");
                        }
                    }
                    Ok(Err(error)) => warn!(%tombstone, %error, "Could not settle a tombstone; trying again."),
                }
            }
            self.remove(&settled).await?;
        }
        Ok(())
    }

    /// Settles what objects of this name left, before a new one takes anything over that should be gone.
    pub async fn settle_for(&self, context: &Context, new: Successor<'_>) -> Result<(), Failure> {
        let owed = self.owed().await?;
        let mut settled = Vec::new();
        for owed in owed.iter().filter(|(_, entry)| entry.tombstone.is_of(&new)) {
            if is_owed_here(&owed.1, context) && settle_before(context, &owed.1.tombstone, &new).await? {
                settled.push(owed);
            }
        }
        Ok(self.remove(&settled).await?)
    }

    fn rests(&self, uid: &str) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(uid).is_some_and(|until| *until > Instant::now())
    }

    /// Whether it is the first time.
    fn rest(&self, uid: &str) -> bool {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.insert(uid.to_owned(), Instant::now() + HOPELESS).is_none()
    }

    /// Uid of the namespace; `None`: there is no such one.
    async fn namespace_uid(&self, namespace: &str) -> Result<Option<String>, kube::Error> {
        let found = Api::<Namespace>::all(self.client.clone()).get_opt(namespace).await?;
        Ok(found.and_then(|namespace| namespace.uid()))
    }

    /// Whether the namespace of the object is certainly gone. `known` holds the uids that were read already.
    async fn is_gone(&self, entry: &Entry, known: &mut HashMap<String, Option<String>>) -> bool {
        let namespace = entry.tombstone.namespace();
        if !known.contains_key(namespace) {
            let Ok(uid) = self.namespace_uid(namespace).await else { return false };
            known.insert(namespace.to_owned(), uid);
        }
        match known.get(namespace).and_then(Option::as_ref) {
            None => true,
            Some(now) => entry.namespace_uid.as_ref().is_some_and(|before| before != now),
        }
    }

    async fn owed(&self) -> Result<Vec<Owed>, ApplyError> {
        let changes = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(owed) = &known.owed {
                return Ok(owed.clone());
            }
            known.changes
        };
        let owed = read_pages(&self.api, &self.name).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changes == changes {
            self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
            known.owed = Some(owed.clone());
        }
        Ok(owed)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Owed>)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.changes += 1;
        if let Some(owed) = &mut known.owed {
            change(owed);
            self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
        }
    }

    async fn remove(&self, settled: &[&Owed]) -> Result<(), ApplyError> {
        let pages: BTreeSet<usize> = settled.iter().map(|(page, _)| *page).collect();
        for page in pages {
            let gone = settled.iter().filter(|(of, _)| *of == page);
            let removal = gone.map(|(_, entry)| (entry.tombstone.uid().to_owned(), serde_json::Value::Null));
            self.write(page, &removal.collect::<serde_json::Map<_, _>>().into()).await?;
        }
        if !settled.is_empty() {
            let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, entry) in settled {
                resting.remove(entry.tombstone.uid());
            }
            drop(resting);
            self.change(|known| known.retain(|owed| !settled.contains(&owed)));
        }
        Ok(())
    }

    async fn write(&self, page: usize, data: &serde_json::Value) -> Result<usize, ApplyError> {
        write_page(&self.api, page_name(&self.name, page), data).await
    }
}

/// Merges `data` into the page; how many entries it has then.
async fn write_page(api: &Api<ConfigMap>, name: String, data: &serde_json::Value) -> Result<usize, ApplyError> {
    let failed =
        |verb, source| ApplyError::Kubernetes { verb, kind: "ConfigMap", name: name.clone(), source: Box::new(source) };
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patched = api.patch(&name, &parameters, &Patch::Merge(&json!({"data": data}))).await;
    let written = match patched {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let new: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))
                .map_err(|source| failed("write", kube::Error::SerdeError(source)))?;
            match api.create(&PostParams::default(), &new).await {
                // Another pass was first.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    api.patch(&name, &parameters, &Patch::Merge(&json!({"data": data}))).await
                }
                created => created,
            }
        }
        patched => patched,
    };
    let written = written.map_err(|source| failed("write", source))?;
    Ok(written.data.map(|data| data.len()).unwrap_or_default())
}

/// The API server takes no more into the `ConfigMap`.
fn is_full(error: &ApplyError) -> bool {
    let ApplyError::Kubernetes { source, .. } = error else { return false };
    matches!(&**source, kube::Error::Api(status) if matches!(status.code, 413 | 422))
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

/// Takes a tombstone out unsettled; what it was.
pub async fn forget(client: Client, namespace: &str, lease: &str, uid: &str) -> Result<Option<Tombstone>, ApplyError> {
    let (api, name) = (Api::namespaced(client, namespace), config_map_name(lease));
    let owed = read_pages(&api, &name).await?;
    let Some((page, entry)) = owed.into_iter().find(|(_, entry)| entry.tombstone.uid() == uid) else {
        return Ok(None);
    };
    write_page(&api, page_name(&name, page), &json!({uid: null})).await?;
    Ok(Some(entry.tombstone))
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
        let entry = Entry { installation: Some("01234567".into()), namespace_uid: Some(uid.into()), tombstone };
        let text = serde_json::to_string(&entry).unwrap();
        // The key stands in the data and, as a field that somebody owns, in the metadata.
        let size = text.len() + 2 * uid.len() + 32;
        assert!(size * PAGE < 1 << 20, "{size}");
        let usual = Tombstone::client_key(uid, "web", "shop", None);
        let usual = serde_json::to_string(&Entry { tombstone: usual, ..entry }).unwrap();
        assert!((usual.len() + 2 * uid.len() + 32) * 3_500 < 1 << 20, "{}", usual.len());
    }

    #[test]
    fn a_tombstone_is_of_its_kind_namespace_and_name() {
        let new = Successor { kind: Kind::ClientKey, namespace: "web", name: "shop", database: None };
        let key = Tombstone::client_key("u", "web", "shop", None);
        assert!(key.is_of(&new));
        assert!(!key.is_of(&Successor { kind: Kind::Project, ..new }));
        assert!(!key.is_of(&Successor { namespace: "other", ..new }));
        assert!(!key.is_of(&Successor { name: "blog", ..new }));
    }

    #[test]
    fn tombstones_of_before_are_read() {
        let text = r#"{"installation":"1a2b3c4d","kind":"clientKey","uid":"u","namespace":"web","name":"shop"}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!(entry.tombstone, Tombstone::client_key("u", "web", "shop", None));
    }
}
