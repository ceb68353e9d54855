//! `ClientKey`: a key that SDKs send with, published as a Secret.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    rotation::{Holders, RetiringKey, Rotation},
    schema,
    settings::RateLimit,
};

/// A key of an ErrorTrackingProject, published as a Secret that holds SENTRY_DSN.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "errortracking.dev",
    version = "v1alpha1",
    kind = "ClientKey",
    plural = "clientkeys",
    shortname = "etk",
    category = "errortracking",
    namespaced,
    status = "ClientKeyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A key of an ErrorTrackingProject, published as a Secret that holds SENTRY_DSN.",
    selectable = ".spec.projectRef.name",
    selectable = ".spec.projectRef.namespace",
    selectable = ".spec.enabled",
    selectable = ".spec.endpoint",
    selectable = ".status.secretName",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must start with a letter and hold only lower-case letters, digits and '-': the Secret is named after it"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters: choose a shorter name"),
    validation = Rule::new("!has(oldSelf.status) || !(has(oldSelf.status.active) || has(oldSelf.status.secretName)) || self.spec.projectRef == oldSelf.spec.projectRef").message("projectRef is immutable once a key was made: create another ClientKey for another project"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.secretName) || (has(self.spec.secretTemplate) && has(self.spec.secretTemplate.name) ? self.spec.secretTemplate.name : '') == (has(oldSelf.spec.secretTemplate) && has(oldSelf.spec.secretTemplate.name) ? oldSelf.spec.secretTemplate.name : '')").message("secretTemplate.name is immutable once the Secret was written: create another ClientKey with the new name, move its users over, then delete this one"),
    validation = Rule::new("!(has(self.spec.serviceBinding) && self.spec.serviceBinding) || !(has(self.spec.secretTemplate) && has(self.spec.secretTemplate.name)) || self.spec.secretTemplate.name != self.metadata.name + '-binding'").message("secretTemplate.name is the name of the Secret that serviceBinding makes: choose another name, or take serviceBinding out"),
    label("servicebinding.io/provisioned-service", "true"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.projectRef.name"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Rotating", type_ = "string", json_path = ".status.conditions[?(@.type=='Rotating')].reason"),
    printcolumn(name = "Next rotation", type_ = "string", json_path = ".status.nextRotationAt", priority = 1),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.active.publicKeyPrefix", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.rotation) || !has(self.rotation.interval) || (has(self.rotation.overlap) && has(self.rotation.overlap.maximum)) || (has(self.rotation.overlap) && has(self.rotation.overlap.holders) ? self.rotation.overlap.holders == 'Visible' : self.endpoint == 'Internal')").message("rotation.interval needs rotation.overlap.maximum where the holders of a key are unknown, as with endpoint: External: without it the key before would never end, and the next rotation never begin"))]
pub struct ClientKeySpec {
    /// The project that this key belongs to.
    pub project_ref: ProjectRef,

    /// Where the DSN points. Internal, the default, is the ingest Service of the project, for pods of this cluster; External is the project's external URL, for senders outside of it.
    #[serde(default)]
    pub endpoint: Endpoint,

    /// Whether events with this key are accepted, as they are by default. When false they are refused and the Secret is kept.
    #[serde(default = "enabled")]
    pub enabled: bool,

    /// Name, labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,

    /// Entries of the Secret beside SENTRY_DSN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_keys: Option<ExtraKeys>,

    /// Whether there is a second Secret, "<name of the ClientKey>-binding", for tools that speak the Service Binding specification; status.binding.name names it. Not by default; when it is turned off the second Secret is deleted.
    #[serde(default)]
    pub service_binding: bool,

    /// How many events are accepted with this key; any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,

    /// When another key takes the place of the active one; never by itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,

    /// What happens to the key and its Secret when this object is deleted. Revoke, the default, refuses the key and deletes the Secret; Orphan leaves both as they are.
    #[serde(default)]
    pub deletion_policy: KeyDeletionPolicy,
}

fn enabled() -> bool {
    true
}

/// An ErrorTrackingProject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ProjectRef {
    /// Name of the ErrorTrackingProject.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("projectRef.name must be the name of an ErrorTrackingProject"))]
    pub name: String,
    /// Namespace of the ErrorTrackingProject; this one when absent. Another one only if the project's spec.allowedNamespaces lets this one in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("projectRef.namespace must be the name of a namespace: lower-case letters, digits and '-'"))]
    pub namespace: Option<String>,
}

/// Where the DSN points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Endpoint {
    #[default]
    Internal,
    External,
}

/// Name, labels and annotations of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretTemplate {
    /// "<name of the ClientKey>-dsn" when absent; it cannot be changed once the Secret was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.endsWith('-database')").message("secretTemplate.name must not end in '-database': that is the login Secret of a project"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("secretTemplate.name must be a valid Secret name: lower-case letters, digits, '-' and '.'"))]
    pub name: Option<String>,
    /// Labels added to the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Entries of the Secret beside SENTRY_DSN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtraKeys {
    /// SENTRY_ENVIRONMENT, which SDKs report as the environment of their events, as "production"; not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(r"self.matches('^[^/\\\\[:cntrl:]]+$') && self.trim() == self && !(self.lowerAscii() in ['none', '.', '..'])").message("extraKeys.environment must be the name of an environment, as production: no slash, line break or blanks around it, and not 'none'"))]
    pub environment: Option<String>,
    /// SENTRY_RELEASE, which SDKs report as the release of their events, as "shop@1.4"; not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new(r"self.matches('^[^/\\\\[:cntrl:]]+$') && self.trim() == self && !(self.lowerAscii() in ['latest', '.', '..'])").message("extraKeys.release must be the name of a release, as shop@1.4: no slash, line break or blanks around it, and not 'latest'"))]
    pub release: Option<String>,
    /// SENTRY_DSN_DEPRECATED, the DSN with a secret key in it, for clients that refuse one without; not written when absent.
    #[serde(rename = "deprecatedDSN", default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated_dsn: bool,
    /// SENTRY_SECURITY_ENDPOINT, where browsers send reports about policies, as the report-uri of a Content-Security-Policy; not written when absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security_endpoint: bool,
}

/// What happens to the key and its Secret when the ClientKey is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyDeletionPolicy {
    #[default]
    Revoke,
    Orphan,
}

impl ClientKey {
    /// Name of the Secret that holds the DSN.
    #[must_use]
    pub fn secret_name(&self) -> String {
        let template = self.spec.secret_template.as_ref();
        template
            .and_then(|template| template.name.clone())
            .unwrap_or_else(|| format!("{}-dsn", self.metadata.name.as_deref().unwrap_or_default()))
    }

    /// Name of the second Secret, which `serviceBinding` asks for.
    #[must_use]
    pub fn binding_name(&self) -> String {
        format!("{}-binding", self.metadata.name.as_deref().unwrap_or_default())
    }

    /// Namespace of the project.
    #[must_use]
    pub fn project_namespace(&self) -> &str {
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        self.spec.project_ref.namespace.as_deref().unwrap_or(own)
    }

    /// Whether the project is one of another namespace, which must let this one in.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.metadata.namespace.as_deref().unwrap_or_default() != self.project_namespace()
    }

    /// Every Secret that holds the DSN.
    #[must_use]
    pub fn secret_names(&self) -> Vec<String> {
        let binding = self.spec.service_binding.then(|| self.binding_name());
        std::iter::once(self.secret_name()).chain(binding).collect()
    }

    /// Whether the Secret should hold the DSN with a secret key.
    #[must_use]
    pub fn asks_for_deprecated_dsn(&self) -> bool {
        self.spec.extra_keys.as_ref().is_some_and(|keys| keys.deprecated_dsn)
    }

    /// Whether everybody who holds the key can be seen: as the spec says, else by where the DSN points. `elsewhere`: to another
    /// server.
    #[must_use]
    pub fn holders(&self, elsewhere: bool) -> Holders {
        let overlap = self.spec.rotation.as_ref().and_then(|rotation| rotation.overlap.as_ref());
        overlap.and_then(|overlap| overlap.holders).unwrap_or(match self.spec.endpoint {
            Endpoint::Internal if !elsewhere => Holders::Visible,
            Endpoint::Internal | Endpoint::External => Holders::Unknown,
        })
    }
}

/// What the operator made of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientKeyStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the Secret is published and events with the key are accepted. Reconciling: something is under way. Stalled: a person must act. Paused: the annotation errortracking.dev/paused is "true". SecretPublished: the Secret holds the DSN. Rotating: a key takes the place of another. DeadKeyInUse: somebody still sends with a key that is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The key that the Secret holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveKey>,
    /// The key before, which is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<RetiringKey>,
    /// When the next key is due; absent without rotation.interval or a request for later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// Name of the Secret that holds the DSN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// The second Secret, which spec.serviceBinding asks for, as the Service Binding specification wants it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingReference>,
}

/// A Secret that workloads are bound by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BindingReference {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// The key that the Secret holds. A whole public key and the URL would be the DSN, so only its beginning shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveKey {
    /// The key's number in the store.
    #[serde(rename = "keyID")]
    #[schemars(length(max = 64))]
    pub key_id: String,
    /// The first eight characters of the public key.
    #[schemars(length(max = 8))]
    pub public_key_prefix: String,
    /// When the key was made.
    pub created_at: Time,
}
