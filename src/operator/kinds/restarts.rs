//! Restarts of the workloads whose pods hold the key before: one write for a rotation and a workload, never repeated.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tracing::debug;

use crate::{
    crd::{HolderWorkload, whole_seconds},
    operator::objects::ApplyError,
};

/// How long after the Secret names the next key: keys of one commit have one restart.
pub const AFTER_PUBLISHING: SignedDuration = SignedDuration::from_secs(60);
/// When the pods of a workload were last restarted for a key.
const RESTARTED_AT: &str = "errortracking.dev/restarted-at";
/// Owns that annotation and nothing else.
const RESTART_MANAGER: &str = "error-tracking-restarts";

/// A workload whose pods hold the key before, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    pub kind: String,
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be restarted; its uid.
    Due(String),
    /// Its pods are being replaced.
    UnderWay,
    /// It was restarted, and this manager has undone that.
    Reverted(String),
    /// It is not touched; why.
    Untouched(String),
}

impl Restart {
    #[must_use]
    pub fn is_due(&self) -> bool {
        matches!(self.verdict, Verdict::Due(_))
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, verdict } = self;
        match verdict {
            Verdict::Due(_) => write!(formatter, "{kind} {name} is restarted next."),
            Verdict::UnderWay => write!(formatter, "{kind} {name} is being restarted."),
            Verdict::Reverted(manager) => write!(
                formatter,
                "The restart of {kind} {name} was undone by {manager}: restart it yourself, and let that leave \
                 /spec/template/metadata/annotations/errortracking.dev~1restarted-at alone (ignoreDifferences in Argo CD)."
            ),
            Verdict::Untouched(why) => write!(formatter, "{kind} {name} is not restarted, since {why}."),
        }
    }
}

/// As a key's row remembers it.
#[must_use]
pub fn record(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// The API of a workload that can be restarted.
#[must_use]
pub fn resource(kind: &str) -> Option<ApiResource> {
    match kind {
        "Deployment" => Some(ApiResource::erase::<Deployment>(&())),
        "StatefulSet" => Some(ApiResource::erase::<StatefulSet>(&())),
        "DaemonSet" => Some(ApiResource::erase::<DaemonSet>(&())),
        _ => None,
    }
}

/// What is to be done about each workload of those that hold the key before. `recorded`: those that were restarted.
pub async fn look(
    client: &Client,
    namespace: &str,
    held_by: &[HolderWorkload],
    published: Timestamp,
    recorded: &[String],
) -> Vec<Restart> {
    let mut restarts = Vec::new();
    for HolderWorkload { kind, name, .. } in held_by {
        let verdict = match resource(kind) {
            None => Verdict::Untouched("only its owner knows how".into()),
            Some(resource) => {
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
                match api.get_opt(name).await {
                    Ok(Some(live)) => judge(&live, published, recorded.contains(&record(kind, name))),
                    Ok(None) => continue,
                    Err(error) => {
                        debug!(namespace, kind, name, %error, "Could not read a workload.");
                        Verdict::Untouched("the operator cannot read it".into())
                    }
                }
            }
        };
        restarts.push(Restart { kind: kind.clone(), name: name.clone(), verdict });
    }
    restarts
}

/// What is to be done about a workload as it is. `recorded`: it was restarted for the key.
#[must_use]
pub fn judge(live: &DynamicObject, published: Timestamp, recorded: bool) -> Verdict {
    let spec = &live.data["spec"];
    let at = spec["template"]["metadata"]["annotations"][RESTARTED_AT].as_str().and_then(|at| at.parse().ok());
    // Also when another key of the workload was the reason.
    if at.is_some_and(|at: Timestamp| at >= published) {
        return Verdict::UnderWay;
    }
    if recorded {
        return Verdict::Reverted(last_manager(live));
    }
    let controller = live.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if let Some(owner) = controller {
        return Verdict::Untouched(format!("it belongs to {} {}", owner.kind, owner.name));
    }
    if spec["paused"] == true {
        return Verdict::Untouched("it is paused".into());
    }
    if spec["updateStrategy"]["type"] == "OnDelete" {
        return Verdict::Untouched("its pods are replaced when somebody deletes them (OnDelete)".into());
    }
    Verdict::Due(live.metadata.uid.clone().unwrap_or_default())
}

/// Who wrote the pod template last.
fn last_manager(live: &DynamicObject) -> String {
    let entries = live.metadata.managed_fields.iter().flatten();
    let of_template = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:spec"]["f:template"]);
        fields.is_some_and(Value::is_object) && entry.manager.as_deref() != Some(RESTART_MANAGER)
    });
    let last = of_template.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| "somebody".into())
}

/// Replaces the pods of a workload as `kubectl rollout restart` does.
pub async fn restart(client: &Client, namespace: &str, restart: &Restart, at: Timestamp) -> Result<(), ApplyError> {
    let (Some(resource), Verdict::Due(uid)) = (resource(&restart.kind), &restart.verdict) else { return Ok(()) };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let seconds = whole_seconds(at);
    let patch = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        // Of another uid it is another workload, and has the next key.
        "metadata": {"name": restart.name, "uid": uid},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: seconds.to_string()}}}},
    });
    let parameters = PatchParams::apply(RESTART_MANAGER).force();
    let failed = ApplyError::kubernetes("restart", "workload", &restart.name);
    api.patch(&restart.name, &parameters, &Patch::Apply(&patch)).await.map(|_| ()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_restarted_once_and_only_by_who_may() {
        let published: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let workload = |spec: Value, metadata: Value| -> DynamicObject {
            let mut object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "uid": "u1"}, "spec": spec,
            });
            object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
            serde_json::from_value(object).unwrap()
        };
        let at = |time: &str| json!({"template": {"metadata": {"annotations": {RESTARTED_AT: time}}}});
        let owner = json!([{"apiVersion": "v1", "kind": "Cluster", "name": "pg", "uid": "u2", "controller": true}]);
        let entry = |manager: &str, time: &str, field: &str| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:spec": {field: {}}}});
        let wrote = json!({"managedFields": [
            entry("kubectl", "2026-11-20T10:00:00Z", "f:template"),
            entry("argocd-controller", "2026-11-22T10:01:00Z", "f:template"),
            entry("kube-controller-manager", "2026-11-22T10:02:00Z", "f:replicas"),
            entry(RESTART_MANAGER, "2026-11-22T10:03:00Z", "f:template"),
        ]});
        let untouched = |why: &str| Verdict::Untouched(why.to_owned());
        let on_delete = untouched("its pods are replaced when somebody deletes them (OnDelete)");
        let (none, due) = (json!({}), Verdict::Due("u1".into()));
        for (case, spec, metadata, recorded, verdict) in [
            ("never restarted", json!({}), none.clone(), false, due.clone()),
            ("for an older key", at("2026-11-21T10:00:00Z"), none.clone(), false, due),
            ("restarted", at("2026-11-22T10:01:00Z"), none.clone(), true, Verdict::UnderWay),
            ("for another key", at("2026-11-22T10:01:00Z"), none.clone(), false, Verdict::UnderWay),
            ("undone", json!({}), wrote, true, Verdict::Reverted("argocd-controller".into())),
            ("paused", json!({"paused": true}), none.clone(), false, untouched("it is paused")),
            ("OnDelete", json!({"updateStrategy": {"type": "OnDelete"}}), none, false, on_delete),
            ("owned", json!({}), json!({"ownerReferences": owner}), false, untouched("it belongs to Cluster pg")),
        ] {
            assert_eq!(judge(&workload(spec, metadata), published, recorded), verdict, "{case}");
        }
    }
}
