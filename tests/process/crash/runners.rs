//! A runner that is configured by a `RunnerBinding`: its config.toml has the DSN of the key's Secret, and none without a
//! binding.

use kube::api::DynamicObject;
use serde_json::json;

use super::invariants::{KEY_ID, Objects, annotation, dsn, name, stands, values};
use crate::{
    runners::{by_config, fleet_with},
    world::{Namespace, manifest},
};

const CONFIG: &str = "concurrent = 4\n[[runners]]\n  token = \"glrt-not-a-token\"\n";
const FLEET: &str = "-fleet";

/// A Secret with a config.toml, made by hand, and a Deployment that mounts it and has no pods.
pub async fn fleet(namespace: &Namespace, run: &str) {
    fleet_with(namespace, &format!("{run}{FLEET}"), CONFIG, false).await;
}

pub async fn remove_fleet(namespace: &Namespace, run: &str) {
    for kind in ["Secret", "Deployment"] {
        namespace.delete(kind, &format!("{run}{FLEET}")).await;
    }
}

pub async fn bind(namespace: &Namespace, run: &str) {
    let spec = json!({"clientKeyRef": {"name": run}, "runner": by_config(&format!("{run}{FLEET}"))});
    namespace.apply(&manifest("RunnerBinding", run, spec)).await;
}

pub(super) fn check_binding(binding: &DynamicObject, objects: &Objects<'_>, wrong: &mut Vec<String>) {
    if !stands(binding, "RunnerBinding", wrong) {
        return;
    }
    let run = name(binding);
    let Some(published) = objects["Secret"].get(&format!("{run}-dsn")) else { return };
    if line(objects, &run) != Some(format!("sentry_dsn = \"{}\"\n", dsn(published))) {
        wrong.push(format!("binding {run}: config.toml has not the DSN of the Secret, or more has changed"));
    }
    let observed = binding.data["status"]["observedKeyID"].as_str();
    if observed != annotation(published, KEY_ID) {
        wrong.push(format!("binding {run} says another key than the Secret"));
    }
}

/// A file without a binding has no DSN.
pub(super) fn check_left(objects: &Objects<'_>, wrong: &mut Vec<String>) {
    for fleet in objects["Secret"].keys().filter_map(|name| name.strip_suffix(FLEET)) {
        if !objects["RunnerBinding"].contains_key(fleet) && line(objects, fleet) != Some(String::new()) {
            wrong.push(format!("config.toml of {fleet} has a DSN without a binding"));
        }
    }
}

/// What stands between the lines of the file; `None`: something else has changed.
fn line(objects: &Objects<'_>, run: &str) -> Option<String> {
    let text = values(objects["Secret"].get(&format!("{run}{FLEET}"))?).remove("config.toml")?;
    let (before, after) = CONFIG.split_once('[')?;
    Some(text.strip_prefix(before)?.strip_suffix(&format!("[{after}"))?.to_owned())
}
