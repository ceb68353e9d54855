//! Stands in for the GitLab Runner Operator, whose images and source cannot be had: it renders each Runner of a
//! namespace into a config.toml and a Deployment, which the Runner owns and which is rolled when `spec.sentryDsn` is
//! another one. What the real one does about running pods is not known; this is the worse case.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::ManuallyDrop,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::runner::{Generation, Pod, config_object, config_toml, list, replicas};
use crate::world::{Namespace, kubectl, pause};

/// While it is there, Runners have pods.
pub struct RunnerOperator(Arc<AtomicBool>);

impl RunnerOperator {
    /// Also makes the cluster know Runners.
    pub fn install(namespace: &Namespace) -> Self {
        let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runner/crd.yaml");
        kubectl(&["apply", "-f", definition]);
        kubectl(&["wait", "--for=condition=Established", "crd/runners.apps.gitlab.com", "--timeout=30s"]);
        let over = Arc::new(AtomicBool::new(false));
        // The test's goes with the test.
        let (ended, namespace) = (Arc::clone(&over), ManuallyDrop::new(Namespace(namespace.0.clone())));
        std::thread::spawn(move || {
            let mut rendered = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                render(&namespace, &mut rendered);
                pause(Duration::from_secs(1));
            }
        });
        Self(over)
    }
}

impl Drop for RunnerOperator {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Applies what has changed since the last time.
fn render(namespace: &Namespace, rendered: &mut BTreeMap<String, String>) {
    let Ok(runners) = namespace.try_kubectl(&["get", "runners.apps.gitlab.com", "-o", "json"]) else { return };
    let runners: Value = serde_json::from_str(&runners).unwrap_or_default();
    for runner in runners["items"].as_array().into_iter().flatten() {
        let name = runner["metadata"]["name"].as_str().unwrap_or_default();
        let manifests = list(&objects(name, runner));
        if rendered.get(name) != Some(&manifests) && namespace.try_apply(&manifests).is_ok() {
            rendered.insert(name.to_owned(), manifests);
        }
    }
}

fn objects(name: &str, runner: &Value) -> Vec<Value> {
    let dsn = runner["spec"]["sentryDsn"].as_str();
    let line = dsn.map(|dsn| format!("sentry_dsn = \"{dsn}\"\n")).unwrap_or_default();
    let config = line + &config_toml(name);
    let generation = Generation::of_image(runner["spec"]["runnerImage"].as_str().unwrap_or_default());
    let mut pod = Pod::failing(generation, name);
    pod.copies(name);
    let mut deployment = pod.deployment(name, replicas(generation));
    // As charts and operators do it: another configuration is another pod template.
    let mut checksum = DefaultHasher::new();
    config.hash(&mut checksum);
    let checksum = format!("{:x}", checksum.finish());
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({"checksum/config": checksum});
    let mut objects = vec![config_object("configmap", name, &config), deployment];
    for object in &mut objects {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps.gitlab.com/v1beta2", "kind": "Runner", "name": name,
            "uid": runner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": false,
        }]);
    }
    objects
}
