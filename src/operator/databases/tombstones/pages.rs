//! Where tombstones are kept: pages of `ConfigMap`s, since the API server is there whenever an object is deleted.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::events::EventType,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{error, warn};

use super::Tombstone;
use crate::{
    kubernetes::names::FIELD_MANAGER,
    operator::{
        engine::metrics::Metrics,
        objects::{ApplyError, EventReason, EventRecorder},
    },
};

/// A tombstone as it is stored, with the database that owes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Installation of the database that the object was in; absent when this process never reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) installation: Option<String>,
    /// Uid of the namespace of its project: when that is gone, its databases owe nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_uid: Option<String>,
    #[serde(flatten)]
    pub(super) tombstone: Tombstone,
}

/// Most `ConfigMap`s that are filled: the API server takes 1 MiB each, about 3,500 tombstones.
const PAGES: usize = 16;
/// Tombstones in a `ConfigMap` before the next one is begun: adding one writes the whole page.
const PAGE: usize = 1_000;
/// Tombstones that are settled before the `ConfigMap` is written.
pub(super) const BATCH: usize = 100;

/// A tombstone and the page that it is on.
pub(super) type Owed = (usize, Record);

/// What the pages held when they were read last, and what was added or taken out since.
#[derive(Default)]
struct Known {
    owed: Option<Vec<Owed>>,
    /// Rises with every change: pages that were read before one are stale.
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
    events: EventRecorder,
    /// The page that is filled now.
    filling: Arc<AtomicUsize>,
    known: Arc<Mutex<Known>>,
    /// By uid: when tombstones of namespaces that are gone are tried again.
    pub(super) retries: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Tombstones {
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, metrics: Metrics, events: EventRecorder) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        let (filling, known, retries) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, api, name, metrics, events, filling, known, retries }
    }

    /// Records the tombstone. When there is no room for it, an Event says so and the object goes all the same.
    pub async fn record_tombstone(
        &self,
        tombstone: &Tombstone,
        installation: Option<String>,
    ) -> Result<(), ApplyError> {
        if !may_have_another(&self.owed().await?, tombstone) {
            self.give_up(tombstone);
            return Ok(());
        }
        let namespace_uid = self.namespace_uid(tombstone.project_namespace()).await.unwrap_or_default();
        let entry = Record { installation, namespace_uid, tombstone: tombstone.clone() };
        let data = json!({tombstone.uid(): serde_json::to_string(&entry).unwrap_or_default()});
        let page = self.filling.load(Ordering::Relaxed);
        let (page, entries) = match self.write(page, &data).await {
            Ok(entries) => (page, entries),
            Err(error) if is_full(&error) => {
                let Some(page) = self.make_room().await? else {
                    self.give_up(tombstone);
                    return Ok(());
                };
                match self.write(page, &data).await {
                    Ok(entries) => (page, entries),
                    Err(error) if is_full(&error) => {
                        self.give_up(tombstone);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        if entries >= PAGE && page + 1 < PAGES {
            let _begun = self.filling.compare_exchange(page, page + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.change(|known| {
            let recorded = (page, entry);
            if !known.contains(&recorded) {
                known.push(recorded);
            }
        });
        Ok(())
    }

    /// A page with room: one that was emptied since, or one whose hopeless tombstones were dropped.
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
    fn give_up(&self, tombstone: &Tombstone) {
        error!(%tombstone, uid = tombstone.uid(), "No room for another tombstone: what the object has in Postgres stays there.");
        self.events.publish(
            &tombstone.reference(),
            EventType::Warning,
            "Delete",
            EventReason::TombstoneLost.as_str(),
            "Postgres was away at the deletion, and there is no room to remember it: what the object has there stays \
             until somebody removes it.",
        );
    }

    /// Uid of the namespace; `None`: there is no such one.
    async fn namespace_uid(&self, namespace: &str) -> Result<Option<String>, kube::Error> {
        let found = Api::<Namespace>::all(self.client.clone()).get_opt(namespace).await?;
        Ok(found.and_then(|namespace| namespace.uid()))
    }

    /// Whether the namespace of the object's project is certainly gone. `known` holds the uids that were read already.
    pub(super) async fn is_gone(&self, entry: &Record, known: &mut HashMap<String, Option<String>>) -> bool {
        let namespace = entry.tombstone.project_namespace();
        if !known.contains_key(namespace) {
            let Ok(uid) = self.namespace_uid(namespace).await else { return false };
            known.insert(namespace.to_owned(), uid);
        }
        match known.get(namespace).and_then(Option::as_ref) {
            None => true,
            Some(now) => entry.namespace_uid.as_ref().is_some_and(|before| before != now),
        }
    }

    pub(super) async fn owed(&self) -> Result<Vec<Owed>, ApplyError> {
        let changes = {
            let known = self.known.lock();
            if let Some(owed) = &known.owed {
                return Ok(owed.clone());
            }
            known.changes
        };
        let owed = read_pages(&self.api, &self.name).await?;
        let mut known = self.known.lock();
        if known.changes == changes {
            self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
            known.owed = Some(owed.clone());
        }
        Ok(owed)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Owed>)) {
        let mut known = self.known.lock();
        known.changes += 1;
        if let Some(owed) = &mut known.owed {
            change(owed);
            self.metrics.tombstones.set(i64::try_from(owed.len()).unwrap_or(i64::MAX));
        }
    }

    pub(super) async fn remove(&self, settled: &[&Owed]) -> Result<(), ApplyError> {
        let pages: BTreeSet<usize> = settled.iter().map(|(page, _)| *page).collect();
        for page in pages {
            let gone = settled.iter().filter(|(of, _)| *of == page);
            let removal = gone.map(|(_, entry)| (entry.tombstone.uid().to_owned(), serde_json::Value::Null));
            self.write(page, &removal.collect::<serde_json::Map<_, _>>().into()).await?;
        }
        if !settled.is_empty() {
            let mut retries = self.retries.lock();
            for (_, entry) in settled {
                retries.remove(entry.tombstone.uid());
            }
            drop(retries);
            self.change(|known| known.retain(|owed| !settled.contains(&owed)));
        }
        Ok(())
    }

    /// Forgets what was read before, so that the next look reads the pages anew.
    pub(super) fn read_anew(&self) {
        self.known.lock().owed = None;
    }

    async fn write(&self, page: usize, data: &serde_json::Value) -> Result<usize, ApplyError> {
        write_page(&self.api, page_name(&self.name, page), data).await
    }
}

/// Whether there is room for a tombstone of that namespace. One may have as many as could still be recorded: however
/// many objects it deletes while its database is away, the debts of others are not lost.
fn may_have_another(owed: &[Owed], tombstone: &Tombstone) -> bool {
    let of_namespace = owed.iter().filter(|(_, entry)| entry.tombstone.namespace() == tombstone.namespace());
    let again = |(_, entry): &Owed| entry.tombstone.uid() == tombstone.uid();
    of_namespace.count() < (PAGES * PAGE).saturating_sub(owed.len()) || owed.iter().any(again)
}

/// Merges `data` into the page; how many entries it has then.
async fn write_page(api: &Api<ConfigMap>, name: String, data: &serde_json::Value) -> Result<usize, ApplyError> {
    let failed = |verb| ApplyError::kubernetes(verb, "ConfigMap", &name);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patched = api.patch(&name, &parameters, &Patch::Merge(&json!({"data": data}))).await;
    let written = match patched {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let new: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))
                .map_err(|source| failed("write")(kube::Error::SerdeError(source)))?;
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
    let written = written.map_err(failed("write"))?;
    Ok(written.data.map(|data| data.len()).unwrap_or_default())
}

/// The API server takes no more into the `ConfigMap`.
fn is_full(error: &ApplyError) -> bool {
    let ApplyError::Kubernetes(error) = error else { return false };
    error.status().is_some_and(|status| matches!(status.code, 413 | 422))
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
        let found = api.get_opt(&name).await.map_err(ApplyError::kubernetes("read", "ConfigMap", &name))?;
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
        let tombstone = tombstone.of_project_in(&"o".repeat(63));
        let entry = Record { installation: Some("01234567".into()), namespace_uid: Some(uid.into()), tombstone };
        let text = serde_json::to_string(&entry).unwrap();
        // The key stands in the data and, as a field that somebody owns, in the metadata.
        let size = text.len() + 2 * uid.len() + 32;
        assert!(size * PAGE < 1 << 20, "{size}");
        let usual = Tombstone::client_key(uid, "web", "shop", None);
        let usual = serde_json::to_string(&Record { tombstone: usual, ..entry }).unwrap();
        assert!((usual.len() + 2 * uid.len() + 32) * 3_500 < 1 << 20, "{}", usual.len());
    }

    #[test]
    fn a_namespace_has_no_more_than_could_still_be_recorded() {
        let tombstone =
            |namespace: &str, number: usize| Tombstone::client_key(&number.to_string(), namespace, "k", None);
        let all = PAGES * PAGE;
        for (flood, another, namespace, room) in [
            (0, 0, "flood", true),
            (all / 2 - 1, 0, "flood", true),
            (all / 2, 0, "flood", false),
            (all / 2, all / 4 - 1, "another", true),
            (all / 2, all / 4, "another", false),
            (all / 2, all / 4, "web", true),
        ] {
            let owed: Vec<Owed> = (0..flood)
                .map(|number| tombstone("flood", number))
                .chain((flood..flood + another).map(|number| tombstone("another", number)))
                .map(|tombstone| (0, Record { installation: None, namespace_uid: None, tombstone }))
                .collect();
            let new = tombstone(namespace, all);
            assert_eq!(may_have_another(&owed, &new), room, "{namespace} with {flood} and {another}");
            if flood > 0 {
                assert!(may_have_another(&owed, &tombstone("flood", 0)), "it is recorded already");
            }
        }
    }

    #[test]
    fn tombstones_of_before_are_read() {
        let text = r#"{"installation":"1a2b3c4d","kind":"clientKey","uid":"u","namespace":"web","name":"shop"}"#;
        let entry: Record = serde_json::from_str(text).unwrap();
        assert_eq!(entry.tombstone, Tombstone::client_key("u", "web", "shop", None));
    }
}
