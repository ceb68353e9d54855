//! Objects as the last watch event showed them. The cache holds packed JSON, which takes a tenth of the memory of the
//! object, and beside it the few facts that are looked up across objects. Of an object that is large even when it is
//! packed it holds the part that others depend on: whoever needs all of it reads it from the API server. So the memory
//! depends on the number of objects, and not on what their owners write into them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hasher as _},
};

use kube::{ResourceExt, api::DynamicObject};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;

use super::packing::Packing;
use crate::{kubernetes::pages::identity, operator::engine::queue::ObjectName};

/// Most bytes that are kept of an object. Usual ones take a few hundred.
const KEPT: usize = 4 << 10;

/// Facts that are looked up without reading the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub uid: Box<str>,
    /// Seconds since 1970.
    pub created: i64,
    pub deleting: bool,
    pub facts: Facts,
}

/// Facts that a kind reads out of each of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of a project its number, of a key since when it has another one beside it, in Unix seconds. 0: it has none.
    pub number: i64,
    /// The object that it refers to: a name, of its own namespace, or "namespace/name". Empty: none.
    pub refers_to: Box<str>,
    /// Of a project: another server keeps its errors, and what it refers to is the Secret of the token.
    pub elsewhere: bool,
    /// Changes with everything that other objects depend on.
    pub outward: u64,
    /// Whether its conditions Ready and Stalled are True.
    pub ready: bool,
    pub stalled: bool,
    /// Days that what is stored of it is kept. 0: nothing is.
    pub retention_days: u16,
    /// Tells the version of what it runs from others. 0: nothing is known of it.
    pub version: u64,
}

impl Facts {
    /// The object that one of `namespace` refers to.
    #[must_use]
    pub fn target(&self, namespace: &str) -> Option<ObjectName> {
        match self.refers_to.split_once('/') {
            Some((namespace, name)) => Some(ObjectName::new(namespace, name)),
            None if self.refers_to.is_empty() => None,
            None => Some(ObjectName::new(namespace, &self.refers_to)),
        }
    }
}

/// Who refers to an object: found without a look at all others, of which there are many more than refer to it.
#[derive(Debug, Default)]
struct References(HashMap<ObjectName, BTreeSet<ObjectName>>);

impl References {
    /// `from` referred to `before`, and refers to `after` now.
    fn change(&mut self, from: &ObjectName, before: Option<ObjectName>, after: Option<ObjectName>) {
        if before == after {
            return;
        }
        if let Some(before) = before
            && let Some(referring) = self.0.get_mut(&before)
        {
            referring.remove(from);
            if referring.is_empty() {
                self.0.remove(&before);
            }
        }
        if let Some(after) = after {
            self.0.entry(after).or_default().insert(from.clone());
        }
    }
}

/// How a kind is cached.
#[derive(Clone, Copy, Debug)]
pub struct Caching {
    /// Reads the facts out of an object.
    pub facts: fn(&DynamicObject) -> Facts,
    /// Leaves the part of a large object that others depend on.
    pub reduce: fn(&mut DynamicObject),
}

impl Default for Caching {
    /// Without facts; nothing is kept of a large object but what tells it from others.
    fn default() -> Self {
        Self { facts: |_| Facts::default(), reduce: |_| {} }
    }
}

impl Summary {
    fn of(object: &DynamicObject, facts: Facts) -> Self {
        Self {
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            created: object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            deleting: object.metadata.deletion_timestamp.is_some(),
            facts,
        }
    }
}

#[derive(Debug)]
struct Cached {
    version: Box<str>,
    /// Of all but the version: an object that was written without a change is no news.
    content: u64,
    summary: Summary,
    packed: Box<[u8]>,
    /// What is packed is a part of the object.
    large: bool,
    /// Until the watch shows it: the status that this process wrote, and the version that came of it.
    written: Option<(u64, Box<[u8]>)>,
}

/// What a watch event did to the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: ObjectName,
    /// Resource version of the object now; `None`: it is gone.
    pub version: Option<Box<str>>,
    /// Whether something changed that others depend on.
    pub outward: bool,
}

/// Distinguishes texts.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// A resource version, which the API server counts up.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

/// Of the JSON without its resource version.
fn content(json: &[u8], version: &str) -> u64 {
    let field = format!("\"resourceVersion\":\"{version}\"");
    let at = json.windows(field.len()).position(|window| window == field.as_bytes());
    let mut hasher = DefaultHasher::new();
    match at {
        Some(at) => {
            hasher.write(&json[..at]);
            hasher.write(&json[at + field.len()..]);
        }
        None => hasher.write(json),
    }
    hasher.finish()
}

/// Lists that are awaited before the cache is filled.
#[derive(Debug)]
struct Filling {
    expected: usize,
    /// By namespace; empty: all.
    listed: HashSet<Box<str>>,
}

/// All objects of one kind that a watch selects, or several watches of a namespace each.
#[derive(Debug)]
pub struct Cache {
    objects: RwLock<HashMap<ObjectName, Cached>>,
    /// Changed while the objects are locked.
    references: Mutex<References>,
    packing: Packing,
    filled: watch::Sender<bool>,
    /// What fills the cache: one watch, or one for each namespace.
    filling: Mutex<Filling>,
    caching: Caching,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(Caching::default())
    }
}

impl Cache {
    #[must_use]
    pub fn new(caching: Caching) -> Self {
        let filling = Mutex::new(Filling { expected: 1, listed: HashSet::new() });
        let filled = watch::Sender::new(false);
        let (objects, references) = (RwLock::default(), Mutex::default());
        Self { objects, references, packing: Packing::default(), filled, filling, caching }
    }

    /// Whether the object is known in part only.
    #[must_use]
    pub fn is_large(&self, namespace: &str, name: &str) -> bool {
        self.objects.read().get(&ObjectName::new(namespace, name)).is_some_and(|entry| entry.large)
    }

    /// The object as the last watch event showed it, or the part of it that is kept. `None` also when it is no `T` at
    /// all.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, namespace: &str, name: &str) -> Option<T> {
        self.with(namespace, name, |json| serde_json::from_slice(json).ok())?
    }

    /// What `read` makes of the object's JSON.
    pub fn with<T>(&self, namespace: &str, name: &str, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let objects = self.objects.read();
        let json = self.packing.unpack(&objects.get(&ObjectName::new(namespace, name))?.packed);
        drop(objects);
        Some(read(&json))
    }

    /// The newest status that is known of the object with this uid: what the watch showed, or what this process wrote
    /// after it. `None` also while a large object's is not known.
    #[must_use]
    pub fn status<S: DeserializeOwned>(&self, namespace: &str, name: &str, uid: &str) -> Option<S> {
        #[derive(Deserialize)]
        struct Shown<S> {
            status: Option<S>,
        }
        let objects = self.objects.read();
        let entry = objects.get(&ObjectName::new(namespace, name)).filter(|entry| *entry.summary.uid == *uid)?;
        match &entry.written {
            Some((_, status)) => serde_json::from_slice(status).ok(),
            None if entry.large => None,
            None => serde_json::from_slice::<Shown<S>>(&self.packing.unpack(&entry.packed)).ok()?.status,
        }
    }

    /// Remembers a status that this process wrote, with the version that came of it: a watch that lags must not make
    /// it write it again.
    pub fn wrote_status(&self, namespace: &str, name: &str, uid: &str, version: &str, status: Vec<u8>) {
        let mut objects = self.objects.write();
        if let Some(entry) = objects.get_mut(&ObjectName::new(namespace, name))
            && *entry.summary.uid == *uid
            && number(&entry.version) < number(version)
        {
            entry.written = Some((number(version), status.into_boxed_slice()));
        }
    }

    #[must_use]
    pub fn uid(&self, namespace: &str, name: &str) -> Option<Box<str>> {
        self.objects.read().get(&ObjectName::new(namespace, name)).map(|entry| entry.summary.uid.clone())
    }

    /// Also of an object that cannot be read as its kind.
    #[must_use]
    pub fn facts(&self, namespace: &str, name: &str) -> Option<Facts> {
        self.objects.read().get(&ObjectName::new(namespace, name)).map(|entry| entry.summary.facts.clone())
    }

    /// Calls `each` for every name; nothing is copied.
    pub fn each_name(&self, each: impl FnMut(&ObjectName)) {
        self.objects.read().keys().for_each(each);
    }

    #[must_use]
    pub fn names(&self) -> Vec<ObjectName> {
        self.objects.read().keys().cloned().collect()
    }

    /// What `find` makes of the summaries.
    pub fn summaries<T>(&self, find: impl FnOnce(&mut dyn Iterator<Item = (&ObjectName, &Summary)>) -> T) -> T {
        find(&mut self.objects.read().iter().map(|(name, entry)| (name, &entry.summary)))
    }

    /// Names of the objects that refer to the one of this name, from whichever namespace.
    #[must_use]
    pub fn referring(&self, namespace: &str, to: &str) -> Vec<ObjectName> {
        let references = self.references.lock();
        references.0.get(&ObjectName::new(namespace, to)).into_iter().flatten().cloned().collect()
    }

    /// Takes the object in; what that changed, if anything. Of a large object a part is left.
    pub fn put(&self, object: &mut DynamicObject) -> Option<Change> {
        let name = ObjectName::new(&object.namespace().unwrap_or_default(), &object.name_any());
        let version: Box<str> = object.resource_version().unwrap_or_default().into();
        let json = serde_json::to_vec(object).unwrap_or_default();
        let content = content(&json, &version);
        let summary = Summary::of(object, (self.caching.facts)(object));
        let mut packed = self.packing.pack(&json);
        drop(json);
        let large = packed.len() > KEPT;
        if large {
            (self.caching.reduce)(object);
            packed = self.pack_part(object);
        }
        let mut objects = self.objects.write();
        let before = objects.get(&name);
        if before.is_some_and(|before| before.version == version) {
            return None;
        }
        let news = before.is_none_or(|before| before.content != content);
        let outward = before.is_none_or(|before| before.summary.facts.outward != summary.facts.outward);
        let same = before.filter(|before| before.summary.uid == summary.uid);
        let written = same.and_then(|before| before.written.clone()).filter(|(written, _)| number(&version) < *written);
        let referred = before.and_then(|before| before.summary.facts.target(&name.namespace));
        self.references.lock().change(&name, referred, summary.facts.target(&name.namespace));
        objects.insert(name.clone(), Cached { version: version.clone(), content, summary, packed, large, written });
        news.then_some(Change { name, version: Some(version), outward })
    }

    /// The part that others depend on, or, if that is still large, what tells the object from others.
    fn pack_part(&self, object: &mut DynamicObject) -> Box<[u8]> {
        let packed = self.packing.pack(&serde_json::to_vec(object).unwrap_or_default());
        if packed.len() <= KEPT {
            return packed;
        }
        let labels = object.metadata.labels.take();
        (object.metadata, object.data) = (identity(&object.metadata), Value::Null);
        let packed = self.packing.pack(&serde_json::to_vec(object).unwrap_or_default());
        // By its labels it is known whose it is.
        object.metadata.labels = labels;
        packed
    }

    pub fn remove(&self, object: &DynamicObject) -> Option<Change> {
        let name = ObjectName::new(&object.namespace().unwrap_or_default(), &object.name_any());
        let mut objects = self.objects.write();
        let entry = objects.remove(&name)?;
        self.references.lock().change(&name, entry.summary.facts.target(&name.namespace), None);
        Some(Change { name, version: None, outward: true })
    }

    /// Says how many watches fill the cache, before they begin: one for each namespace.
    pub fn expect_lists(&self, expected: usize) {
        self.filling.lock().expected = expected;
    }

    /// Nothing is known of the namespace, as when it is gone: the others do not wait for it.
    pub fn pass_over(&self, namespace: Option<&str>) {
        let mut filling = self.filling.lock();
        filling.listed.insert(namespace.unwrap_or_default().into());
        if filling.listed.len() >= filling.expected {
            self.filled.send_replace(true);
        }
    }

    /// A list of the namespace, or of all, is complete: what it did not name is gone, as it was seen last.
    pub fn listed(&self, namespace: Option<&str>, seen: &HashSet<ObjectName>) -> Vec<(Change, DynamicObject)> {
        let mut objects = self.objects.write();
        let meant = |name: &ObjectName| namespace.is_none_or(|of| *name.namespace == *of);
        let gone: Vec<_> = objects.extract_if(|name, _| meant(name) && !seen.contains(name)).collect();
        objects.shrink_to_fit();
        for (name, entry) in &gone {
            self.references.lock().change(name, entry.summary.facts.target(&name.namespace), None);
        }
        drop(objects);
        self.pass_over(namespace);
        let last_seen = |(name, entry): (ObjectName, Cached)| {
            let object = serde_json::from_slice(&self.packing.unpack(&entry.packed)).ok()?;
            Some((Change { name, version: None, outward: true }, object))
        };
        gone.into_iter().filter_map(last_seen).collect()
    }

    /// Whether there was a complete list of everything.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        *self.filled.borrow()
    }

    /// Waits for the first complete list.
    pub async fn ready(&self) {
        let mut filled = self.filled.subscribe();
        // The sender lives as long as the cache.
        let _ = filled.wait_for(|filled| *filled).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project(version: &str, id: Option<i64>, note: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "errortracking.dev/v1alpha1", "kind": "ErrorTrackingProject",
            "metadata": {"namespace": "web", "name": "shop", "resourceVersion": version, "uid": "u1"},
            "spec": {"backend": {"integrated": {"database": {"secretRef": {"name": "pg"}}}}},
            "status": {"projectID": id, "conditions": [{"type": "Ready", "status": "True", "message": note}]},
        }))
        .unwrap()
    }

    fn facts(object: &DynamicObject) -> Facts {
        let (spec, number) = (&object.data["spec"], &object.data["status"]["projectID"]);
        let secret = &spec["backend"]["integrated"]["database"]["secretRef"]["name"];
        Facts {
            number: number.as_i64().unwrap_or_default(),
            refers_to: secret.as_str().unwrap_or_default().into(),
            outward: digest(number.to_string().as_bytes()),
            ..Facts::default()
        }
    }

    #[test]
    fn a_change_is_told_once_with_what_others_depend_on() {
        let cache = Cache::new(Caching { facts, ..Caching::default() });
        assert!(cache.put(&mut project("1", None, "")).unwrap().outward);
        assert_eq!(cache.put(&mut project("1", None, "")), None, "seen already");
        assert_eq!(cache.put(&mut project("2", None, "")), None, "written without a change");
        assert!(!cache.put(&mut project("2a", None, "other words")).unwrap().outward);
        assert!(cache.put(&mut project("3", Some(7), "")).unwrap().outward, "it has a number now");
        assert_eq!(cache.referring("web", "pg"), [ObjectName::new("web", "shop")]);
        assert_eq!(cache.referring("other", "pg"), []);
        assert_eq!(cache.summaries(|all| all.map(|(_, summary)| summary.facts.number).max()), Some(7));
    }

    #[test]
    fn who_refers_to_an_object_is_known_from_whichever_namespace() {
        let facts = |object: &DynamicObject| {
            let refers_to = object.data["to"].as_str().unwrap_or_default().into();
            Facts { refers_to, ..Facts::default() }
        };
        let cache = Cache::new(Caching { facts, ..Caching::default() });
        let key = |namespace: &str, name: &str, version: &str, to: &str| -> DynamicObject {
            let metadata = json!({"namespace": namespace, "name": name, "resourceVersion": version});
            serde_json::from_value(json!({"metadata": metadata, "to": to})).unwrap()
        };
        let named = |name: ObjectName| format!("{}/{}", name.namespace, name.name);
        let referring = || cache.referring("web", "shop").into_iter().map(named).collect::<Vec<_>>();
        for (step, mut object, expected) in [
            ("of the same namespace", key("web", "a", "1", "shop"), vec!["web/a"]),
            ("the same, said in full", key("web", "b", "2", "web/shop"), vec!["web/a", "web/b"]),
            ("of another", key("api", "a", "3", "web/shop"), vec!["api/a", "web/a", "web/b"]),
            ("another of that name", key("api", "b", "4", "shop"), vec!["api/a", "web/a", "web/b"]),
            ("nothing", key("api", "c", "5", ""), vec!["api/a", "web/a", "web/b"]),
            ("it refers to another now", key("web", "a", "6", "blog"), vec!["api/a", "web/b"]),
        ] {
            cache.put(&mut object);
            assert_eq!(referring(), expected, "{step}");
        }
        cache.remove(&key("api", "a", "7", ""));
        assert_eq!(referring(), ["web/b"]);
        cache.listed(None, &HashSet::from([ObjectName::new("web", "a")]));
        assert_eq!(referring(), [""; 0]);
        assert_eq!(cache.references.lock().0.len(), 1, "nothing is kept of what is gone");
    }

    #[test]
    fn a_status_of_our_own_counts_until_the_watch_shows_it() {
        let cache = Cache::default();
        cache.put(&mut project("5", None, "old"));
        let id =
            |cache: &Cache, uid| cache.status::<Value>("web", "shop", uid).map(|status| status["projectID"].clone());
        assert_eq!(id(&cache, "u1"), Some(Value::Null));
        let status = |id: i64| serde_json::to_vec(&json!({"projectID": id})).unwrap();
        cache.wrote_status("web", "shop", "u1", "4", status(1));
        assert_eq!(id(&cache, "u1"), Some(Value::Null), "the watch was faster");
        cache.wrote_status("web", "shop", "u1", "7", status(7));
        cache.put(&mut project("6", Some(6), "somebody else's"));
        assert_eq!(id(&cache, "u1"), Some(7.into()));
        assert_eq!(id(&cache, "u2"), None, "another object of that name");
        cache.put(&mut project("8", Some(8), ""));
        assert_eq!(id(&cache, "u1"), Some(8.into()));
    }

    #[test]
    fn of_a_large_object_a_part_is_kept() {
        let noise = |bytes: usize| -> String {
            let numbers = (0_u64..).flat_map(|n| format!("{:x}", digest(&n.to_le_bytes())).into_bytes());
            String::from_utf8(numbers.take(bytes).collect()).unwrap()
        };
        let cache = Cache::new(Caching { facts, reduce: |object| object.data["spec"]["note"] = Value::Null });
        for (version, note, status, large, kept) in [
            ("1", 10, 10, false, Some("pg")),
            ("2", 1 << 20, 10, true, Some("pg")),
            ("3", 1 << 20, 1 << 20, true, None),
            ("4", 10, 10, false, Some("pg")),
        ] {
            let mut object = project(version, Some(7), &noise(status));
            object.data["spec"]["note"] = noise(note).into();
            assert!(cache.put(&mut object).is_some(), "{version}: a change of the rest is seen");
            assert_eq!(cache.is_large("web", "shop"), large, "{version}");
            let part: Value = cache.get("web", "shop").unwrap();
            assert_eq!(part["metadata"]["uid"], "u1", "{version}");
            let secret = &part["spec"]["backend"]["integrated"]["database"]["secretRef"]["name"];
            assert_eq!(secret.as_str(), kept, "{version}");
            assert_eq!(cache.facts("web", "shop").unwrap().number, 7, "{version}: facts are those of all of it");
            assert_eq!(cache.status::<Value>("web", "shop", "u1").is_none(), large, "{version}");
            assert!(cache.objects.read().values().all(|entry| entry.packed.len() <= KEPT), "{version}");
        }
    }

    #[test]
    fn a_new_list_takes_out_what_it_does_not_name() {
        let cache = Cache::default();
        cache.put(&mut project("1", None, ""));
        assert!(cache.listed(None, &HashSet::from([ObjectName::new("web", "shop")])).is_empty());
        assert!(cache.is_filled());
        assert_eq!(cache.listed(None, &HashSet::new()).len(), 1);
        assert_eq!(cache.get::<Value>("web", "shop"), None);
    }

    #[test]
    fn a_list_of_a_namespace_is_about_that_namespace_and_all_are_waited_for() {
        let cache = Cache::default();
        cache.expect_lists(2);
        cache.put(&mut project("1", None, ""));
        assert!(cache.listed(Some("other"), &HashSet::new()).is_empty());
        cache.pass_over(Some("other"));
        assert!(!cache.is_filled(), "nothing is known of web");
        assert_eq!(cache.listed(Some("web"), &HashSet::new()).len(), 1);
        assert!(cache.is_filled());
    }
}
