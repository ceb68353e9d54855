//! Who else keeps an object that is not the operator's: it is not written then. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use crate::kubernetes::names::RUNNER_MANAGER;

/// Labels and annotations that tools put on what they keep, with the name that people know.
const MARKS: [(&str, &str); 12] = [
    ("meta.helm.sh/release-name", "Helm"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("reconcile.external-secrets.io/managed", "the External Secrets Operator"),
    ("reconcile.external-secrets.io/data-hash", "the External Secrets Operator"),
    ("reconcile.external-secrets.io/created-by", "the External Secrets Operator"),
    ("sealedsecrets.bitnami.com/managed", "Sealed Secrets"),
    ("sealedsecrets.bitnami.com/patch", "Sealed Secrets"),
    ("sealedsecrets.bitnami.com/cluster-wide", "Sealed Secrets"),
    ("sealedsecrets.bitnami.com/namespace-wide", "Sealed Secrets"),
];
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A field of an object, as `managedFields` names it: `["f:data", "f:config.toml"]`.
pub type Field<'a> = [&'a str; 2];

/// Who keeps the object or one field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// For people, as "Helm" or "`SealedSecret` runner".
    pub name: String,
    pub is_helm: bool,
}

impl Owner {
    fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { is_helm: name == "Helm", name }
    }
}

/// Who keeps an object that holds a config.toml under `field`: its controlling owner, a tool by its marks, or another
/// manager of the field. Who has made it by hand, with kubectl or in one request, does not.
#[must_use]
pub fn of_config(metadata: &ObjectMeta, field: Field<'_>) -> Option<Owner> {
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let controller = controller.map(|owner| Owner::named(format!("{} {}", owner.kind, owner.name)));
    controller.or_else(|| marked(metadata)).or_else(|| {
        let created = metadata.creation_timestamp.as_ref().map(|created| created.0);
        let keeps = |entry: &&ManagedFieldsEntry| {
            let applied = entry.operation.as_deref() == Some("Apply");
            let by_hand = entry.manager.as_deref().is_some_and(|manager| manager.starts_with("kubectl"));
            let later = entry.time.as_ref().map(|time| time.0) > created;
            applied || (!by_hand && later)
        };
        manager(metadata, field, keeps)
    })
}

/// Who else has written one field that only its owner has a reason to write.
#[must_use]
pub fn of_field(metadata: &ObjectMeta, field: Field<'_>) -> Option<Owner> {
    manager(metadata, field, |_| true)
}

fn manager(metadata: &ObjectMeta, field: Field<'_>, keeps: impl Fn(&&ManagedFieldsEntry) -> bool) -> Option<Owner> {
    let others = entries(metadata, field).filter(|entry| entry.manager.as_deref() != Some(RUNNER_MANAGER));
    let last = others.filter(keeps).max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(Owner::named(last.manager.clone().unwrap_or_else(|| "somebody".to_owned())))
}

fn marked(metadata: &ObjectMeta) -> Option<Owner> {
    let has = |key: &str| {
        let found = |map: &Option<std::collections::BTreeMap<String, String>>| {
            map.as_ref().is_some_and(|map| map.contains_key(key))
        };
        found(&metadata.labels) || found(&metadata.annotations)
    };
    let by_helm = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == "Helm");
    let mark = MARKS.iter().find(|(key, _)| has(key)).map(|(_, name)| *name);
    mark.or_else(|| by_helm.then_some("Helm")).map(Owner::named)
}

/// Whether this operator wrote the field last, and when it was written, by the API server's clock; the object's creation
/// when nothing says so.
#[must_use]
pub fn written(metadata: &ObjectMeta, field: Field<'_>) -> (bool, Timestamp) {
    let last = entries(metadata, field).max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |created| created.0);
    let at = last.and_then(|entry| entry.time.as_ref()).map_or(created, |time| time.0);
    (last.is_some_and(|entry| entry.manager.as_deref() == Some(RUNNER_MANAGER)), at)
}

fn entries<'a>(metadata: &'a ObjectMeta, [outer, inner]: Field<'a>) -> impl Iterator<Item = &'a ManagedFieldsEntry> {
    metadata.managed_fields.iter().flatten().filter(move |entry| {
        let fields = entry.fields_v1.as_ref().map_or(&Value::Null, |fields| &fields.0[outer]);
        entry.subresource.is_none() && fields.get(inner).is_some()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELD: Field<'static> = ["f:data", "f:config.toml"];

    fn metadata(more: &Value) -> ObjectMeta {
        let mut metadata = json!({"name": "config", "creationTimestamp": "2026-11-22T10:00:00Z"});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(metadata).unwrap()
    }

    fn entry(manager: &str, operation: &str, time: &str, key: &str) -> Value {
        let fields = json!({"f:data": {key: {}}});
        json!({"manager": manager, "operation": operation, "time": time, "fieldsV1": fields})
    }

    #[test]
    fn what_a_tool_keeps_is_not_ours_to_write() {
        let (made, later) = ("2026-11-22T10:00:00Z", "2026-11-23T10:00:00Z");
        let managed = |entries: &[Value]| json!({"managedFields": entries});
        let controller = |controller: bool| {
            let owner = json!({"apiVersion": "v1", "kind": "SealedSecret", "name": "config", "uid": "u", "controller": controller});
            json!({"ownerReferences": [owner]})
        };
        let ours = "f:config.toml";
        for (case, more, owner) in [
            ("made by hand", managed(&[entry("kubectl-create", "Update", made, ours)]), None),
            ("applied by hand", managed(&[entry("kubectl-client-side-apply", "Update", later, ours)]), None),
            ("edited by hand", managed(&[entry("kubectl-edit", "Update", later, ours)]), None),
            ("made in one request", managed(&[entry("terraform", "Update", made, ours)]), None),
            ("kept by a controller", managed(&[entry("fleet", "Update", later, ours)]), Some("fleet")),
            ("applied on the server", managed(&[entry("kubectl", "Apply", made, ours)]), Some("kubectl")),
            ("another key of it", managed(&[entry("fleet", "Apply", later, "f:other")]), None),
            ("written by us", managed(&[entry(RUNNER_MANAGER, "Update", later, ours)]), None),
            ("a controlling owner", controller(true), Some("SealedSecret config")),
            ("an owner that does not control", controller(false), None),
            ("Helm", json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), Some("Helm")),
            ("a release", json!({"annotations": {"meta.helm.sh/release-name": "fleet"}}), Some("Helm")),
            ("Argo CD", json!({"annotations": {"argocd.argoproj.io/tracking-id": "a"}}), Some("Argo CD")),
            ("Flux", json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}}), Some("Flux")),
            ("somebody's labels", json!({"labels": {"app.kubernetes.io/managed-by": "me"}}), None),
            (
                "External Secrets",
                json!({"annotations": {"reconcile.external-secrets.io/data-hash": "a"}}),
                Some("the External Secrets Operator"),
            ),
            (
                "Sealed Secrets",
                json!({"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}),
                Some("Sealed Secrets"),
            ),
        ] {
            let found = of_config(&metadata(&more), FIELD).map(|owner| owner.name);
            assert_eq!(found.as_deref(), owner, "{case}");
        }
    }

    #[test]
    fn the_last_write_of_a_field_has_a_time_and_an_author() {
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let (first, second) = ("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z");
        for (entries, ours, time) in [
            (vec![], false, "2026-11-22T10:00:00Z"),
            (vec![entry(RUNNER_MANAGER, "Update", first, "f:config.toml")], true, first),
            (
                vec![
                    entry(RUNNER_MANAGER, "Update", first, "f:config.toml"),
                    entry("kubectl-edit", "Update", second, "f:config.toml"),
                ],
                false,
                second,
            ),
            (vec![entry(RUNNER_MANAGER, "Update", first, "f:other")], false, "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(written(&metadata(&json!({"managedFields": entries})), FIELD), (ours, at(time)));
        }
    }
}
