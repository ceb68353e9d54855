//! The objects that a custom resource owns: what each should be, and whether it is. Pure.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, TypeMeta},
    core::GroupVersionKind,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    crd::{ClientKey, ErrorTrackingProject},
    dsn::hex,
    kubernetes::{
        names::{CLIENT_KEY_LABEL, FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, PROJECT_LABEL},
        pages::identity,
    },
    operator::cluster::prune_metadata,
};

/// Digest of the manifest that was applied last.
const APPLIED_ANNOTATION: &str = "errortracking.dev/applied";

/// Most owners that are kept of an object which is not compared: anybody may write any number of them.
const MOST_OWNERS: usize = 4;

/// What stands in a cached Secret for a value: never the value itself.
const DIGEST_PREFIX: &str = "sha256:";

/// Kinds of the objects that custom resources own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    Secret,
    ServiceAccount,
    NetworkPolicy,
    Service,
    Deployment,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    Ingress,
    /// Of the Gateway API, which a cluster may have or not.
    HttpRoute,
}

impl ChildKind {
    /// Those that every cluster has: each is watched.
    pub const ALL: [Self; 8] = [
        Self::Secret,
        Self::ServiceAccount,
        Self::NetworkPolicy,
        Self::Service,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
        }
    }

    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Self::Secret => ("", "v1", "secrets"),
            Self::ServiceAccount => ("", "v1", "serviceaccounts"),
            Self::Service => ("", "v1", "services"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Self::HorizontalPodAutoscaler => ("autoscaling", "v2", "horizontalpodautoscalers"),
            Self::Ingress => ("networking.k8s.io", "v1", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "httproutes"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), plural)
    }
}

impl fmt::Display for ChildKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An object as it should be. The manifest holds what we own of it, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    pub kind: ChildKind,
    pub namespace: String,
    pub name: String,
    pub owner: OwnerReference,
    pub manifest: Value,
}

impl Child {
    /// `body` holds every top-level field but `apiVersion`, `kind` and `metadata`.
    #[must_use]
    pub fn new(
        kind: ChildKind,
        namespace: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
        owner: &OwnerReference,
        body: Value,
    ) -> Self {
        let mut labels = labels.clone();
        labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
        let mut manifest = json!({
            "apiVersion": kind.resource().api_version,
            "kind": kind.as_str(),
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]},
        });
        if let (Value::Object(manifest), Value::Object(body)) = (&mut manifest, body) {
            manifest.extend(body);
        }
        Self { kind, namespace: namespace.into(), name: name.into(), owner: owner.clone(), manifest }
            .annotated(&BTreeMap::new())
    }

    /// Sets annotations beside the one that says what was applied: without it, what was taken out of the manifest
    /// would not be missed in the live object.
    #[must_use]
    pub fn annotated(mut self, annotations: &BTreeMap<String, String>) -> Self {
        let mut annotations = annotations.clone();
        annotations.remove(APPLIED_ANNOTATION);
        self.manifest["metadata"]["annotations"] = json!(annotations);
        let mut described = self.manifest.clone();
        if let Some(fields) = described.as_object_mut() {
            fields.remove("data");
        }
        let applied = hex(&Sha256::digest(described.to_string())[..8]);
        self.manifest["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(applied);
        self
    }

    /// Whose `live` is.
    #[must_use]
    pub fn ownership(&self, live: &DynamicObject) -> Ownership {
        ownership(live, &self.owner)
    }

    /// Whether the labels, annotations and owners of `live` are these. The API server keeps them as they were
    /// written, and no generation tells when they change.
    #[must_use]
    pub fn same_metadata(&self, live: &DynamicObject) -> bool {
        let live = serde_json::to_value(&live.metadata).unwrap_or_default();
        is_part_of(&self.manifest["metadata"], &live)
    }

    /// How `live`, as the cache holds it, differs from this.
    #[must_use]
    pub fn compare(&self, live: Option<&DynamicObject>) -> Drift {
        let Some(live) = live else { return Drift::Absent };
        match self.ownership(live) {
            Ownership::Ours => {}
            Ownership::Predecessor if live.metadata.deletion_timestamp.is_some() => return Drift::Leaving,
            // Its owner was lost: it is taken over before garbage collection comes by.
            Ownership::Predecessor => return Drift::Changed,
            Ownership::Foreign => return Drift::Foreign,
        }
        let live = serde_json::to_value(live).unwrap_or_default();
        let mut desired = self.manifest.clone();
        if self.kind == ChildKind::Secret {
            digest_values(&mut desired);
            if keys(&desired["data"]) != keys(&live["data"]) {
                return Drift::Changed;
            }
        }
        if is_part_of(&desired, &live) { Drift::None } else { Drift::Changed }
    }
}

/// How a live object differs from the one that should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    None,
    Absent,
    Changed,
    /// It belongs to an object of the same name that is gone, and is going with it.
    Leaving,
    /// It exists and is somebody else's: it is not touched.
    Foreign,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    Ours,
    /// Of an object with our name that is gone: garbage collection has not come by yet, or the object left it behind.
    Predecessor,
    Foreign,
}

/// Whose `live` is, seen from `owner`.
#[must_use]
pub fn ownership(live: &DynamicObject, owner: &OwnerReference) -> Ownership {
    let owners = || live.metadata.owner_references.iter().flatten();
    if owners().any(|of| of.uid == owner.uid) {
        Ownership::Ours
    } else if owners().any(|of| of.kind == owner.kind && of.name == owner.name) || is_orphan_of(live, owner) {
        Ownership::Predecessor
    } else {
        Ownership::Foreign
    }
}

/// Whether an object with the name of `owner` left `live` behind without any owner.
#[must_use]
pub fn is_orphan_of(live: &DynamicObject, owner: &OwnerReference) -> bool {
    let unowned = live.metadata.owner_references.iter().flatten().next().is_none();
    unowned && labelled_owner(live).is_some_and(|(kind, name)| kind == owner.kind && name == owner.name)
}

/// Kind and name of the custom resource that the operator made an object for, by the object's labels.
fn labelled_owner(object: &DynamicObject) -> Option<(Cow<'static, str>, &str)> {
    let labels = object.metadata.labels.as_ref()?;
    labels.get(MANAGED_BY_LABEL).filter(|by| *by == MANAGED_BY)?;
    // The Secret of a key has the label of its project as well.
    match (labels.get(CLIENT_KEY_LABEL), labels.get(PROJECT_LABEL)) {
        (Some(key), _) => Some((ClientKey::kind(&()), key)),
        (None, Some(project)) => Some((ErrorTrackingProject::kind(&()), project)),
        (None, None) => None,
    }
}

/// Whether the object is controlled by the custom resource with this uid.
#[must_use]
pub fn owned_by(object: &DynamicObject, owner_uid: &str) -> bool {
    object.metadata.owner_references.iter().flatten().any(|owner| owner.uid == owner_uid)
}

/// The resource that the operator made an object for, as "`ClientKey` shop"; `None` when somebody else made it.
#[must_use]
pub fn holder(object: &DynamicObject) -> Option<String> {
    let (kind, name) = labelled_owner(object)?;
    match object.metadata.owner_references.iter().flatten().next() {
        Some(owner) => Some(format!("{} {}", owner.kind, owner.name)),
        None => Some(format!("{kind} {name}")),
    }
}

/// Whether what was applied last of `live` is `child`, but for a Secret's values.
pub(super) fn is_applied_as(child: &Child, live: &DynamicObject) -> bool {
    let applied = live.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED_ANNOTATION));
    applied.is_some_and(|applied| child.manifest["metadata"]["annotations"][APPLIED_ANNOTATION] == **applied)
}

/// Drops what a comparison does not need and turns a Secret's values into digests: the cache holds no secrets.
/// Items of a list do not say their kind, so it is written in.
pub fn prune(kind: ChildKind, object: &mut DynamicObject) {
    let resource = kind.resource();
    object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
    prune_metadata(object);
    match kind {
        ChildKind::Secret => digest_values(&mut object.data),
        // Every 15 s it tells of another load.
        ChildKind::HorizontalPodAutoscaler => keep_conditions(&mut object.data["status"]),
        _ => {}
    }
}

/// Leaves what says whose the object is: of one that is not ours, or that is read when it is needed.
pub fn reduce(object: &mut DynamicObject) {
    let metadata = std::mem::take(&mut object.metadata);
    object.metadata = identity(&metadata);
    let ours = |label: &String| matches!(label.as_str(), MANAGED_BY_LABEL | CLIENT_KEY_LABEL | PROJECT_LABEL);
    object.metadata.labels =
        metadata.labels.map(|labels| labels.into_iter().filter(|(label, _)| ours(label)).collect());
    object.metadata.owner_references =
        metadata.owner_references.map(|owners| owners.into_iter().take(MOST_OWNERS).collect());
    object.data = Value::Null;
}

fn keep_conditions(status: &mut Value) {
    let mut conditions = status["conditions"].take();
    for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.retain(|field, _| matches!(field.as_str(), "type" | "status" | "reason"));
    }
    *status = json!({"conditions": conditions});
}

/// Base64 of `values`, as the `data` of a Secret.
#[must_use]
pub fn secret_data(values: &BTreeMap<&str, SecretString>) -> Value {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::String(BASE64_STANDARD.encode(value.expose_secret()))))
        .collect::<Map<_, _>>()
        .into()
}

/// A value of a Secret that was just read; the cache holds none.
#[must_use]
pub fn secret_value(secret: &DynamicObject, key: &str) -> Option<SecretString> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let bytes = BASE64_STANDARD.decode(secret.data["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok().map(SecretString::from)
}

/// Whether somebody else than the operator wrote the value that a live object has under `data.key`.
#[must_use]
pub fn written_by_others(live: &DynamicObject, key: &str) -> bool {
    let field = format!("f:{key}");
    live.metadata.managed_fields.iter().flatten().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:data"]);
        entry.manager.as_deref() != Some(FIELD_MANAGER) && fields.is_some_and(|data| data.get(&field).is_some())
    })
}

/// Digest that the cache keeps of a Secret's value, for comparison with one computed elsewhere.
#[must_use]
pub fn cached_digest(object: &DynamicObject, key: &str) -> Option<String> {
    object.data["data"][key].as_str()?.strip_prefix(DIGEST_PREFIX).map(str::to_owned)
}

fn digest_values(secret: &mut Value) {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let Some(data) = secret.get_mut("data").and_then(Value::as_object_mut) else { return };
    for value in data.values_mut() {
        let bytes = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
        *value = Value::String(digest(&bytes));
    }
}

/// What the cache holds instead of a Secret's value.
#[must_use]
pub fn digest(value: &[u8]) -> String {
    format!("{DIGEST_PREFIX}{}", hex(&Sha256::digest(value)))
}

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().map(|fields| fields.keys().collect()).unwrap_or_default()
}

/// Whether every field of `desired` is in `live` with the same value: what others set beside it, and what the
/// API server fills in, does not count. Lists must agree in length, since ours are owned whole.
pub(super) fn is_part_of(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| match live.get(key) {
            Some(found) => is_part_of(value, found),
            None => is_empty(value),
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(desired, live)| is_part_of(desired, live))
        }
        _ => desired == live,
    }
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> OwnerReference {
        OwnerReference { uid: "u1".into(), name: "shop".into(), ..OwnerReference::default() }
    }

    fn secret(value: &str) -> Child {
        let data = secret_data(&BTreeMap::from([("SENTRY_DSN", SecretString::from(value))]));
        Child::new(ChildKind::Secret, "web", "shop-dsn", &BTreeMap::new(), &owner(), json!({"data": data}))
    }

    fn live(child: &Child) -> DynamicObject {
        let mut item = child.manifest.clone();
        // As in a list.
        item.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        let mut object: DynamicObject = serde_json::from_value(item).unwrap();
        prune(child.kind, &mut object);
        object
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_drift() {
        let desired = json!({"spec": {"ports": [{"port": 80}], "selector": {}}});
        let found = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}});
        assert!(is_part_of(&desired, &found));
        assert!(!is_part_of(&desired, &json!({"spec": {"ports": [{"port": 81}]}})));
        assert!(!is_part_of(&desired, &json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}})));
    }

    #[test]
    fn a_secret_that_was_edited_or_extended_has_drifted() {
        let desired = secret("dsn");
        assert_eq!(desired.compare(Some(&live(&desired))), Drift::None);
        assert_eq!(desired.compare(Some(&live(&secret("other")))), Drift::Changed);
        let mut extended = live(&desired);
        extended.data["data"]["EXTRA"] = json!("sha256:00");
        assert_eq!(desired.compare(Some(&extended)), Drift::Changed);
        assert_eq!(desired.compare(None), Drift::Absent);
    }

    #[test]
    fn what_is_taken_out_of_a_manifest_is_missed() {
        let before = secret("dsn").annotated(&BTreeMap::from([("note".into(), "hello".into())]));
        assert_eq!(secret("dsn").compare(Some(&live(&before))), Drift::Changed);
    }

    #[test]
    fn an_object_of_another_owner_is_foreign() {
        let desired = secret("dsn");
        let mut theirs = live(&desired);
        theirs.metadata.owner_references = Some(vec![OwnerReference { uid: "u2".into(), ..owner() }]);
        assert_eq!(desired.compare(Some(&theirs)), Drift::Changed, "its owner of our name is gone");
        theirs.metadata.deletion_timestamp = Some(serde_json::from_str("\"2026-11-23T17:04:05Z\"").unwrap());
        assert_eq!(desired.compare(Some(&theirs)), Drift::Leaving);
        theirs.metadata.owner_references = None;
        assert_eq!(desired.compare(Some(&theirs)), Drift::Foreign);
    }

    #[test]
    fn an_orphan_is_that_of_the_object_its_labels_name() {
        let owner = OwnerReference { kind: "ClientKey".into(), ..owner() };
        let labels =
            |key: &str| BTreeMap::from([(CLIENT_KEY_LABEL.into(), key.into()), (PROJECT_LABEL.into(), "p".into())]);
        let child = |key: &str| Child::new(ChildKind::Secret, "web", "shop-dsn", &labels(key), &owner, json!({}));
        let orphan = |key: &str| {
            let mut orphan = live(&child(key));
            orphan.metadata.owner_references = None;
            orphan
        };
        let desired = child("shop");
        assert_eq!(desired.compare(Some(&orphan("shop"))), Drift::Changed, "it is taken over");
        assert_eq!(desired.compare(Some(&orphan("other"))), Drift::Foreign);
        assert_eq!(holder(&orphan("other")).as_deref(), Some("ClientKey other"));
        // The Secret of a key carries its project's label as well, and is none of the project's.
        let project = OwnerReference { kind: "ErrorTrackingProject".into(), name: "p".into(), ..owner.clone() };
        assert_eq!(ownership(&orphan("shop"), &project), Ownership::Foreign);
        let mut copied = orphan("shop");
        copied.metadata.labels.as_mut().unwrap().remove(MANAGED_BY_LABEL);
        assert_eq!(desired.compare(Some(&copied)), Drift::Foreign, "not the operator's");
        let mut theirs = orphan("shop");
        theirs.metadata.owner_references = Some(vec![OwnerReference { uid: "u2".into(), name: "x".into(), ..owner }]);
        assert_eq!(desired.compare(Some(&theirs)), Drift::Foreign, "it has another owner");
    }

    #[test]
    fn the_cache_holds_no_secret_values() {
        let cached = live(&secret("http://fake@host/1"));
        let text = serde_json::to_string(&cached).unwrap();
        assert!(!text.contains("aHR0cDovL2Zha2VAaG9zdC8x") && text.contains("sha256:"), "{text}");
    }
}
