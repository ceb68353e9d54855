//! The objects of the load, and the changes to them.

use std::{
    env, fmt,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::world::{Namespace, World, manifest};

/// Requests under way at once while objects are made.
const WRITERS: usize = 16;
/// Longest wait for the effect of one change.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

pub struct Load {
    pub projects: usize,
    pub keys_per_project: usize,
    pub namespaces: usize,
    pub new_keys: usize,
    pub changes: usize,
    pub idle: Duration,
}

impl Load {
    pub fn from_environment() -> Self {
        let number = |name: &str, default: usize| -> usize {
            env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        Self {
            projects: number("BENCH_PROJECTS", 1_000),
            keys_per_project: number("BENCH_KEYS_PER_PROJECT", 10),
            namespaces: number("BENCH_NAMESPACES", 100),
            new_keys: number("BENCH_NEW_KEYS", 1_000),
            changes: number("BENCH_CHANGES", 200),
            idle: Duration::from_secs(number("BENCH_IDLE_SECONDS", 600) as u64),
        }
    }

    /// As many projects and keys as `make bench-rotation` rotates.
    pub fn of_rotation() -> Self {
        let load = Self::from_environment();
        let projects = if env::var_os("BENCH_PROJECTS").is_some() { load.projects } else { 100 };
        Self { projects, namespaces: load.namespaces.min(projects), ..load }
    }

    /// Namespace and name of a key.
    pub fn name(&self, world: &World, number: usize) -> (Namespace, String) {
        (self.namespace(world, number % self.projects), format!("k{number}"))
    }

    pub fn keys(&self) -> usize {
        self.projects * self.keys_per_project
    }

    fn namespace(&self, world: &World, project: usize) -> Namespace {
        world.namespace_named(&format!("n{}", project % self.namespaces))
    }

    /// Makes namespaces, projects and keys.
    pub async fn fill(&self, world: &World) {
        for number in 0..self.namespaces {
            world.namespace(&format!("n{number}")).await;
        }
        let project = |number: usize| {
            let spec = json!({"backend": {"integrated": {"ingest": {"replicas": 0}}}});
            (self.namespace(world, number), manifest("ErrorTrackingProject", &format!("p{number}"), spec))
        };
        let key = |number: usize| self.key(world, number % self.projects, &format!("k{number}"));
        create((0..self.projects).map(project)).await;
        create((0..self.keys()).map(key)).await;
    }

    /// Makes further keys, all at once.
    pub async fn add_keys(&self, world: &World) {
        create((0..self.new_keys).map(|number| self.key(world, number % self.projects, &format!("new{number}")))).await;
    }

    fn key(&self, world: &World, project: usize, name: &str) -> (Namespace, Value) {
        let spec = json!({"projectRef": {"name": format!("p{project}")}});
        (self.namespace(world, project), manifest("ClientKey", name, spec))
    }

    /// Changes keys one after the other: a label of the template, seen in the Secret, and `enabled`, seen in the status.
    /// Each time is from the API server's answer to the change until its effect is in a watch.
    pub async fn change(&self, world: &World) -> Vec<Duration> {
        let mut times = Vec::new();
        for change in 0..self.changes {
            // Spread over all keys.
            let number = change * 7919 % self.keys();
            let namespace = self.namespace(world, number % self.projects);
            let key = format!("k{number}");
            let time = if change % 2 == 0 {
                let label = format!("v{change}");
                let patch = json!({"spec": {"secretTemplate": {"labels": {"team": label}}}});
                let shows = |secret: &DynamicObject, _: i64| {
                    secret.metadata.labels.as_ref().and_then(|labels| labels.get("team")) == Some(&label)
                };
                timed(&namespace, &key, &patch, ("Secret", &format!("{key}-dsn")), shows).await
            } else {
                let patch = json!({"spec": {"enabled": false}});
                let shows = |key: &DynamicObject, generation: i64| {
                    key.data["status"]["observedGeneration"].as_i64() >= Some(generation)
                };
                timed(&namespace, &key, &patch, ("ClientKey", &key), shows).await
            };
            times.push(time);
        }
        times
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} projects (Dedicated, 0 replicas), {} keys in {} namespaces; {} keys more; {} changes; idle for {} s",
            self.projects,
            self.keys(),
            self.namespaces,
            self.new_keys,
            self.changes,
            self.idle.as_secs()
        )
    }
}

async fn create(objects: impl Iterator<Item = (Namespace, Value)>) {
    let creating = objects.map(|(namespace, manifest)| async move {
        let api = namespace.api(manifest["kind"].as_str().unwrap());
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    });
    stream::iter(creating).buffer_unordered(WRITERS).collect::<()>().await;
}

/// Patches the key and waits until the object that is watched shows it; `shows` gets the key's new generation.
async fn timed(
    namespace: &Namespace,
    key: &str,
    patch: &Value,
    (kind, name): (&str, &str),
    shows: impl Fn(&DynamicObject, i64) -> bool,
) -> Duration {
    let api = namespace.api(kind);
    let selector = format!("metadata.name={name}");
    // Of the list: the object's own may be older than what the API server remembers.
    let version = api.list(&ListParams::default().fields(&selector)).await.unwrap().metadata.resource_version.unwrap();
    let one = WatchParams::default().fields(&selector);
    // The answer's head is there before the change is made.
    let mut events = api.watch(&one, &version).await.unwrap().boxed();
    let patched = namespace.api("ClientKey").patch(key, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let answered = Instant::now();
    let generation = patched.metadata.generation.unwrap();
    let seen = async {
        while let Some(event) = events.try_next().await.unwrap() {
            if let WatchEvent::Modified(object) | WatchEvent::Added(object) = event
                && shows(&object, generation)
            {
                return;
            }
        }
        panic!("the watch of {name} ended");
    };
    tokio::time::timeout(CHANGE_LIMIT, seen).await.unwrap_or_else(|_| panic!("no effect of a change of {key}"));
    answered.elapsed()
}
