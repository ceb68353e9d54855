//! What somebody else changed of a child since it was applied, by the API server's record of who wrote which field. Pure.

use std::fmt;

use kube::api::DynamicObject;
use serde_json::Value;

use super::child::{Child, ChildKind, is_applied_as, is_part_of};
use crate::{crd::PAUSED_ANNOTATION, kubernetes::names::FIELD_MANAGER};

/// Fields that a sentence names.
const MOST_FIELDS: usize = 3;

/// A change of a child that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    kind: ChildKind,
    name: String,
    /// Kind of the custom resource that the child belongs to.
    owner: String,
    /// Paths of the fields.
    fields: Vec<String>,
    /// Field managers that wrote them.
    managers: Vec<String>,
    /// Number of pods that the Deployment had, and that it should have.
    replicas: Option<(i64, i64)>,
}

/// What others wrote in `live` that differs from what `child` should be. `None` when nobody did, or when `child` is not what
/// was applied: then the difference is of our making. A field that somebody took out is not found: nobody owns it.
#[must_use]
pub fn find(child: &Child, live: &DynamicObject) -> Option<Edit> {
    if !is_applied_as(child, live) {
        return None;
    }
    let found = serde_json::to_value(live).unwrap_or_default();
    let (mut fields, mut managers) = (Vec::new(), Vec::new());
    for entry in live.metadata.managed_fields.iter().flatten() {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let Some(owned) = entry.fields_v1.as_ref().filter(|_| manager != FIELD_MANAGER) else { continue };
        let before = fields.len();
        collect(child.kind, &owned.0, &child.manifest, &found, "", &mut fields);
        if fields.len() > before && !managers.iter().any(|known| known == manager) {
            managers.push(manager.to_owned());
        }
    }
    fields.sort();
    fields.dedup();
    let number = |of: &Value| of["spec"]["replicas"].as_i64();
    let replicas = number(&found).zip(number(&child.manifest));
    (!fields.is_empty()).then(|| Edit {
        kind: child.kind,
        name: child.name.clone(),
        owner: child.owner.kind.clone(),
        replicas: replicas.filter(|_| fields == ["spec.replicas"]),
        fields,
        managers,
    })
}

/// Collects the paths below `owned`, a tree of `fieldsV1`, that the manifest has and that `live` has otherwise.
fn collect(kind: ChildKind, owned: &Value, desired: &Value, live: &Value, path: &str, into: &mut Vec<String>) {
    for (step, below) in owned.as_object().into_iter().flatten() {
        let (path, desired, live) = if let Some(name) = step.strip_prefix("f:") {
            let separator = if path.is_empty() { "" } else { "." };
            (format!("{path}{separator}{name}"), desired.get(name), live.get(name))
        } else if let Some(keys) = step.strip_prefix("k:") {
            let Ok(keys) = serde_json::from_str::<Value>(keys) else { continue };
            let element = |list: &'_ Value| -> Option<Value> {
                list.as_array()?.iter().find(|element| is_part_of(&keys, element)).cloned()
            };
            let (Some(desired), Some(live)) = (element(desired), element(live)) else { continue };
            collect(kind, below, &desired, &live, &format!("{path}[]"), into);
            continue;
        } else {
            continue;
        };
        let Some(live) = live else { continue };
        match desired {
            // A Secret holds what is applied, and nothing else.
            None if kind == ChildKind::Secret && path.starts_with("data.") => into.push(path),
            None => {}
            Some(desired) if !is_leaf(below) => collect(kind, below, desired, live, &path, into),
            Some(desired) if is_part_of(desired, live) => {}
            Some(_) => into.push(path),
        }
    }
}

/// `{}`, or `{".": {}}`: the field itself.
fn is_leaf(owned: &Value) -> bool {
    owned.as_object().is_none_or(|below| below.keys().all(|step| step == "."))
}

impl fmt::Display for Edit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, owner, fields, managers, replicas } = self;
        if let Some((had, should)) = replicas {
            return write!(
                formatter,
                "{kind} {name} had {had} replicas, put back to {should}: set ingest.replicas, or pause with \
                 {PAUSED_ANNOTATION}=true."
            );
        }
        let shown = fields.iter().take(MOST_FIELDS).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match fields.len().saturating_sub(MOST_FIELDS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        write!(
            formatter,
            "{kind} {name} was changed by {} ({shown}{more}), and put back: change the {owner} instead, or pause it with \
             {PAUSED_ANNOTATION}=true.",
            managers.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::*;

    fn child(kind: ChildKind, body: Value) -> Child {
        let owner = OwnerReference { kind: "ErrorTrackingProject".into(), ..OwnerReference::default() };
        Child::new(kind, "web", "shop-ingest", &BTreeMap::new(), &owner, body)
    }

    fn deployment(replicas: i64, image: &str) -> Child {
        let containers = json!([{"name": "ingest", "image": image}]);
        let spec = json!({"replicas": replicas, "template": {"spec": {"containers": containers}}});
        child(ChildKind::Deployment, json!({"spec": spec}))
    }

    /// As `manager` left it after it wrote `fields`.
    fn live(child: &Child, body: &Value, manager: &str, fields: &Value) -> DynamicObject {
        let mut object = child.manifest.clone();
        object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        object["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Update", "fieldsV1": fields}]);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_edit_names_the_field_the_writer_and_what_to_do() {
        let desired = deployment(1, "a");
        let image = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"ingest\"}": {"f:image": {}}}}}}});
        let data = |value: &str| json!({"data": {"SENTRY_DSN": value}});
        let secret = child(ChildKind::Secret, data("YQ=="));
        for (desired, now, manager, fields, says) in [
            (
                &desired,
                deployment(5, "a").manifest,
                "kubectl",
                json!({"f:spec": {"f:replicas": {}}}),
                "Deployment shop-ingest had 5 replicas, put back to 1: set ingest.replicas, or pause with \
                 errortracking.dev/paused=true.",
            ),
            (
                &desired,
                deployment(1, "b").manifest,
                "kubectl-edit",
                image,
                "Deployment shop-ingest was changed by kubectl-edit (spec.template.spec.containers[].image), and put back: \
                 change the ErrorTrackingProject instead, or pause it with errortracking.dev/paused=true.",
            ),
            (
                &secret,
                data("Yg=="),
                "kubectl-patch",
                json!({"f:data": {"f:SENTRY_DSN": {}}}),
                "Secret shop-ingest was changed by kubectl-patch (data.SENTRY_DSN), and put back: change the \
                 ErrorTrackingProject instead, or pause it with errortracking.dev/paused=true.",
            ),
            (
                &secret,
                json!({"data": {"SENTRY_DSN": "YQ==", "EXTRA": "eA=="}}),
                "reflector",
                json!({"f:data": {".": {}, "f:EXTRA": {}}}),
                "Secret shop-ingest was changed by reflector (data.EXTRA), and put back: change the ErrorTrackingProject \
                 instead, or pause it with errortracking.dev/paused=true.",
            ),
        ] {
            let body = json!({"spec": now["spec"], "data": now["data"]});
            let found = find(desired, &live(desired, &body, manager, &fields)).map(|edit| edit.to_string());
            assert_eq!(found.as_deref(), Some(says));
        }
    }

    #[test]
    fn what_nobody_else_changed_is_no_edit() {
        let (before, after) = (deployment(1, "a"), deployment(2, "a"));
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let scaled = || json!({"spec": deployment(5, "a").manifest["spec"]});
        for (case, desired, live) in [
            ("the spec asks for another number", &after, live(&before, &scaled(), "kubectl", &replicas)),
            ("our own", &before, live(&before, &scaled(), FIELD_MANAGER, &replicas)),
            ("the same value", &before, live(&before, &json!({}), "kubectl", &replicas)),
            (
                "a field beside ours",
                &before,
                live(
                    &before,
                    &json!({"status": {"replicas": 1}}),
                    "controller",
                    &json!({"f:status": {"f:replicas": {}}}),
                ),
            ),
        ] {
            assert_eq!(find(desired, &live), None, "{case}");
        }
    }
}
