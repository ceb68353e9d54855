//! The custom resources of the group `errortracking.dev/v1alpha1`: their fields, rules and conditions.
//!
//! These fields are the contract of v1alpha1: fields are added, never renamed, and a field is left out
//! until something acts on it. What the schema alone cannot say is a CEL rule whose message tells what
//! to do. Used by `operator`; pure.

#![expect(clippy::doc_markdown, reason = "`kubectl explain` shows these comments as they are")]

mod client_key;
mod conditions;
mod ingest;
mod project;
mod schema;
mod settings;

pub use client_key::{
    ActiveKey, ClientKey, ClientKeySpec, ClientKeyStatus, Endpoint, ExtraKeys, KeyDeletionPolicy, ProjectRef,
    SecretTemplate,
};
pub use conditions::{ConditionStatus, ConditionType, Conditions, Reason};
pub use ingest::{
    Autoscaling, GatewayRoute, Ingest, IngressRoute, ParentReference, PodMetadata, PodTemplate, ResourceRequirements,
    Scale,
};
pub use project::{
    Backend, DatabaseSource, DatabaseStatus, DeletionPolicy, ErrorTrackingProject, ErrorTrackingProjectSpec,
    ErrorTrackingProjectStatus, IngestMode, IngestStatus, Integrated, SecretReference,
};
pub use settings::{Filters, Privacy, Quota, RateLimit, Window};

use kube::CustomResourceExt;

/// API group of every kind, and prefix of our labels, annotations and the finalizer.
pub const GROUP: &str = "errortracking.dev";

/// Kept on an object until what it owns outside the cluster is undone.
pub const FINALIZER: &str = "errortracking.dev/cleanup";

/// With the value "true" on an object of any kind, nothing is done for it; its deletion still works.
pub const PAUSED_ANNOTATION: &str = "errortracking.dev/paused";

/// The YAML of every `CustomResourceDefinition`, with the file name each has in `crds/`.
pub fn manifests() -> Result<Vec<(String, String)>, serde_yaml::ser::Error> {
    [ErrorTrackingProject::crd(), ClientKey::crd()]
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
            fields.values_mut().for_each(refuse_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}
