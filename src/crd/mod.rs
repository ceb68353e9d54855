//! The custom resources of the group `errortracking.dev/v1alpha1`: their fields, rules and conditions.
//!
//! These fields are the contract of v1alpha1: fields are added, never renamed, and a field is left out
//! until something acts on it. What the schema alone cannot say is a CEL rule whose message tells what
//! to do. Used by `operator`; pure.

#![expect(clippy::doc_markdown, reason = "`kubectl explain` shows these comments as they are")]

mod allowed_namespaces;
mod client_key;
mod conditions;
mod ingest;
mod project;
mod rotation;
mod runner_binding;
mod schema;
mod servers;
mod settings;

pub use allowed_namespaces::{AllowedNamespaces, NamespacesFrom};
pub use client_key::{
    ActiveKey, BindingReference, ClientKey, ClientKeySpec, ClientKeyStatus, Endpoint, ExtraKeys, KeyDeletionPolicy,
    ProjectRef, SecretTemplate,
};
pub use conditions::{ConditionStatus, ConditionType, Conditions, Reason, whole_seconds};
pub use ingest::{
    Autoscaling, GatewayRoute, Ingest, IngressRoute, ParentReference, PodMetadata, PodTemplate, ResourceRequirements,
    Scale,
};
pub use project::{
    Backend, DatabaseSource, DatabaseStatus, DeletionPolicy, ErrorTrackingProject, ErrorTrackingProjectSpec,
    ErrorTrackingProjectStatus, IngestMode, IngestStatus, Integrated, SecretReference,
};
pub use rotation::{HolderWorkload, Holders, Overlap, Period, RetiringKey, Rotation, Window};
pub use runner_binding::{
    BindingDeletionPolicy, BoundPods, ClientKeyReference, ConfigReference, ConfigToml, DsnForm, RestartPolicy,
    RunnerBinding, RunnerBindingSpec, RunnerBindingStatus, RunnerEnvironment, RunnerReference, RunnerTarget,
    WorkloadKind, WorkloadReference,
};
pub use servers::{Gitlab, SecretKeyReference, Sentry, SentryStatus, ServerKind, ServerRef};
pub use settings::{Filters, Privacy, Quota, RateLimit};

use kube::CustomResourceExt;

/// API group of every kind, and prefix of our labels, annotations and the finalizer.
pub const GROUP: &str = "errortracking.dev";

/// Kept on an object until what it owns outside the cluster is undone.
pub const FINALIZER: &str = "errortracking.dev/cleanup";

/// With the value "true" on an object of any kind, nothing is done for it; its deletion still works.
pub const PAUSED_ANNOTATION: &str = "errortracking.dev/paused";

/// On a `ClientKey`: one rotation when the time, as in `spec.rotation.requestedAt`, is later than the active key's.
pub const ROTATE_ANNOTATION: &str = "errortracking.dev/rotate";

/// On a `ClientKey`: the key with this id is refused for good. The active one gets a successor first.
pub const REVOKE_ANNOTATION: &str = "errortracking.dev/revoke";

/// On a `ClientKey`: the retired key with this id is accepted again, while the annotation is there.
pub const RESTORE_ANNOTATION: &str = "errortracking.dev/restore";

/// The YAML of every `CustomResourceDefinition`, with the file name each has in `crds/`.
pub fn manifests() -> Result<Vec<(String, String)>, serde_yaml::ser::Error> {
    [ErrorTrackingProject::crd(), ClientKey::crd(), RunnerBinding::crd()]
        .into_iter()
        .map(|definition| {
            let name = definition.metadata.name.clone().unwrap_or_default();
            let mut definition = serde_json::to_value(definition).unwrap_or_default();
            refuse_null(&mut definition);
            make_spec_optional(&mut definition);
            Ok((format!("{name}.yaml"), serde_yaml::to_string(&definition)?))
        })
        .collect()
}

/// A project needs no spec at all: everything in it has a default.
fn make_spec_optional(definition: &mut serde_json::Value) {
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    if schema["properties"]["spec"].get("required").is_none() {
        schema["properties"]["spec"]["default"] = serde_json::json!({});
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("required");
        }
    }
}

/// schemars says that an optional field may be null. In Kubernetes it may be absent: a null would pass
/// `has()` in a CEL rule and be no object afterwards.
fn refuse_null(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(fields) => {
            fields.remove("nullable");
            if let Some(values) = fields.get_mut("enum").and_then(serde_json::Value::as_array_mut) {
                values.retain(|value| !value.is_null());
            }
            fields.values_mut().for_each(refuse_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Bytes of the largest value that the schema lets in, names of fields not counted. A character takes up to four,
    /// unless a rule names those that may be there.
    /// `summed`: a rule further up bounds what is here as well.
    fn largest(schema: &Value, at: &str, summed: bool) -> u64 {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        let mut sum =
            rules.filter(|rule| rule["message"].as_str().is_some_and(|says| says.contains("bytes all together")));
        let sum: Option<u64> = sum.find_map(|rule| rule["rule"].as_str()?.rsplit_once(" <= ")?.1.parse().ok());
        let summed = summed || sum.is_some();
        let rules = schema["x-kubernetes-validations"].to_string();
        let ascii = schema.get("pattern").is_some()
            || ["matches('^[a-z", "matches('^[-._a-zA-Z0-9]", "matches('^https?://", "isIP("]
                .iter()
                .any(|says| rules.contains(says));
        let bound = |name: &str| {
            let bound = schema[name].as_u64();
            bound.unwrap_or_else(|| panic!("{at} has no {name}"))
        };
        let inner = if let Some(values) = schema.get("additionalProperties") {
            // Their keys have no bound of their own.
            assert!(summed, "{at} has no rule about the sum");
            bound("maxProperties") * largest(values, &format!("{at}[]"), summed)
        } else if let Some(items) = schema.get("items") {
            let of_items = bound("maxItems") * largest(items, &format!("{at}[]"), summed);
            if ascii { of_items / 4 } else { of_items }
        } else if let Some(fields) = schema["properties"].as_object() {
            let of_fields = fields.iter().map(|(name, field)| largest(field, &format!("{at}.{name}"), summed));
            if rules.contains("exactly one of") { of_fields.max().unwrap_or_default() } else { of_fields.sum() }
        } else if schema["type"] == "string" && schema.get("enum").is_none() && schema["format"] != "date-time" {
            bound("maxLength") * if ascii { 1 } else { 4 }
        } else {
            assert!(schema.get("x-kubernetes-preserve-unknown-fields").is_none(), "{at} may hold anything");
            32
        };
        sum.unwrap_or(inner)
    }

    #[test]
    fn an_object_at_every_bound_is_small() {
        for (file, manifest) in manifests().unwrap() {
            let definition: Value = serde_yaml::from_str(&manifest).unwrap();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            let (spec, status) = (largest(&schema["spec"], "spec", false), largest(&schema["status"], "status", false));
            println!("{file}: spec {spec}, status {status}");
            assert!(spec <= 64 << 10, "{file}: a spec may hold {spec} bytes");
            assert!(status <= 128 << 10, "{file}: a status may hold {status} bytes");
            let messages = &schema["status"]["properties"]["conditions"]["items"]["properties"]["message"];
            assert_eq!(messages["maxLength"], conditions::MESSAGE_LIMIT, "what is written must be let in");
        }
    }
}
