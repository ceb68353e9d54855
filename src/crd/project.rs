//! `ErrorTrackingProject`: one application whose errors are tracked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    allowed_namespaces::AllowedNamespaces,
    ingest::{Ingest, Scale},
    schema,
    servers::{Gitlab, Sentry, SentryStatus, ServerRef},
    settings::{Filters, Privacy, Quota},
};
use crate::settings::{DEFAULT_RETENTION_DAYS, Settings};

/// One application whose errors are tracked: a store, an ingest endpoint for Sentry SDKs, and pages.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "errortracking.dev",
    version = "v1alpha1",
    kind = "ErrorTrackingProject",
    plural = "errortrackingprojects",
    shortname = "etp",
    category = "errortracking",
    namespaced,
    status = "ErrorTrackingProjectStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "One application whose errors are tracked: a store, an ingest endpoint for Sentry SDKs, and pages.",
    selectable = ".spec.active",
    selectable = ".spec.deletionPolicy",
    selectable = ".spec.backend.integrated.database.secretRef.name",
    selectable = ".spec.backend.sentry.url",
    selectable = ".spec.backend.gitlab.url",
    selectable = ".status.projectID",
    selectable = ".status.ingest.mode",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must start with a letter and hold only lower-case letters, digits and '-': the ingest Service is named after it"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters: choose a shorter name, and put the long one into spec.displayName"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.projectID) || (has(self.spec.backend) && has(self.spec.backend.integrated) && has(self.spec.backend.integrated.database) && has(self.spec.backend.integrated.database.secretRef) ? self.spec.backend.integrated.database.secretRef.name : '') == (has(oldSelf.spec.backend) && has(oldSelf.spec.backend.integrated) && has(oldSelf.spec.backend.integrated.database) && has(oldSelf.spec.backend.integrated.database.secretRef) ? oldSelf.spec.backend.integrated.database.secretRef.name : '')").message("database.secretRef is immutable once the project has a number: stored events do not move to another server. Create another project for the other database"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Project", type_ = "integer", json_path = ".status.projectID", description = "The number in the DSN"),
    printcolumn(name = "Ingest", type_ = "string", json_path = ".status.ingest.ready", description = "Ready ingest pods of those asked for"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.ingest.internalURL", priority = 1),
    printcolumn(name = "External URL", type_ = "string", json_path = ".status.ingest.externalURL", priority = 1),
    printcolumn(name = "Console", type_ = "string", json_path = ".status.consoleURL", priority = 1),
    printcolumn(name = "Schema", type_ = "string", json_path = ".status.database.schema", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ErrorTrackingProjectSpec {
    /// Name shown to people; metadata.name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub display_name: Option<String>,

    /// Whether events are received, as they are by default. When false the ingest pods go to zero and events are refused; everything stored stays readable, and keys and Secrets stay.
    #[serde(default = "active")]
    pub active: bool,

    /// Sentry's name of the application's platform, as "python" or "javascript"; only for the set-up snippet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub platform: Option<String>,

    /// Where the errors are kept: exactly one of integrated, the operator's own store and the default, sentry and gitlab. The choice cannot be changed later.
    #[serde(default)]
    pub backend: Backend,

    /// Who may hold keys of this project: ClientKeys of its own namespace, and of others that are named here.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,

    /// What happens to the stored events when this object is deleted. Retain, the default, keeps the Postgres schema and takes its logins away; Delete drops both.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn active() -> bool {
    Settings::default().active
}

impl Default for ErrorTrackingProjectSpec {
    fn default() -> Self {
        Self {
            display_name: None,
            active: active(),
            platform: None,
            backend: Backend::default(),
            allowed_namespaces: AllowedNamespaces::default(),
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

/// Where a project's errors are kept: exactly one field is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.integrated), has(self.sentry), has(self.gitlab)].filter(there, there).size() == 1").message("spec.backend must name exactly one of integrated, sentry and gitlab: use 'integrated: {}' for the operator's own store"))]
#[x_kube(validation = Rule::new("has(self.integrated) == has(oldSelf.integrated) && has(self.sentry) == has(oldSelf.sentry)").message("the choice of spec.backend is immutable: stored errors and keys do not move. Create another project for the other backend"))]
pub struct Backend {
    /// The operator's own ingest pods and Postgres schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrated: Option<Integrated>,
    /// A project of a Sentry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentry: Option<Sentry>,
    /// A project of a GitLab with integrated error tracking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<Gitlab>,
}

/// Absent means the operator's own store, so a project needs no spec at all.
impl Default for Backend {
    fn default() -> Self {
        Self { integrated: Some(Integrated::default()), sentry: None, gitlab: None }
    }
}

/// Settings of the operator's own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Integrated {
    /// Where the events are stored; the operator's own database when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSource>,

    /// Days that an event is kept: 1 to 3650; 90 when absent.
    #[serde(default = "default_retention_days")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 3650").message("retentionDays must be between 1 and 3650: events are kept for at least a day and at most ten years"))]
    pub retention_days: i32,

    /// How much is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,

    /// What is taken out of an event before it is stored or shown.
    #[serde(default)]
    pub privacy: Privacy,

    /// Which events are not wanted.
    #[serde(default)]
    pub filters: Filters,

    /// The pods that receive events.
    #[serde(default)]
    pub ingest: Ingest,
}

impl Default for Integrated {
    fn default() -> Self {
        Self {
            database: None,
            retention_days: default_retention_days(),
            quota: None,
            privacy: Privacy::default(),
            filters: Filters::default(),
            ingest: Ingest::default(),
        }
    }
}

/// A Postgres of the project's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSource {
    /// Secret with the login: "uri", or "host", "port", "dbname", "username" and "password", as CloudNativePG names them. It cannot be changed later, and the installation must allow the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("the name of a Secret holds only lower-case letters, digits, '-' and '.'"))]
    pub name: String,
}

fn default_retention_days() -> i32 {
    DEFAULT_RETENTION_DAYS.cast_signed()
}

/// What happens to the stored events when the project is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

impl ErrorTrackingProject {
    /// Secret of the project's own Postgres, in its namespace; `None` when its events are in the operator's database.
    #[must_use]
    pub fn database_secret(&self) -> Option<&str> {
        let database = self.spec.backend.integrated.as_ref()?.database.as_ref()?;
        database.secret_ref.as_ref().map(|secret| secret.name.as_str())
    }

    /// The server that keeps the errors, when it is not the operator's own store.
    #[must_use]
    pub fn server(&self) -> Option<ServerRef<'_>> {
        let backend = &self.spec.backend;
        let gitlab = || backend.gitlab.as_ref().map(ServerRef::Gitlab);
        backend.sentry.as_ref().map(ServerRef::Sentry).or_else(gitlab)
    }

    /// What the spec asks of the pods that receive events, and of the way to them.
    #[must_use]
    pub fn ingest(&self) -> Ingest {
        self.spec.backend.integrated.as_ref().map(|integrated| integrated.ingest.clone()).unwrap_or_default()
    }

    /// How many pods should receive events: none while the project is not active.
    #[must_use]
    pub fn scale(&self) -> Scale {
        match &self.spec.backend.integrated {
            Some(integrated) if self.spec.active => integrated.ingest.scale(),
            _ => Scale::Fixed(0),
        }
    }

    /// Where senders outside the cluster reach the ingest pods, without a trailing slash.
    #[must_use]
    pub fn external_url(&self) -> Option<String> {
        self.spec.backend.integrated.as_ref()?.ingest.external_url()
    }
}

/// What the operator made of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorTrackingProjectStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: events are received and stored. Reconciling: something is under way. Stalled: a person must act. Paused: the annotation errortracking.dev/paused is "true". DatabaseReady: the schema is up to date and its login works. IngestReady: pods receive events. Receiving: events have come, the last one in the hour that the message names. Flooded, if it is there: more that is new has come within the last hour than is let in. Connected, instead of the three, of a project that another server keeps: it answers and lets the operator manage keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The number in the DSN; never used again for another project.
    #[serde(rename = "projectID", default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<i64>,
    /// Where people see the project's errors, if the console has an address of its own.
    #[serde(rename = "consoleURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub console_url: Option<String>,
    /// Where the project's events are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// What receives the project's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<IngestStatus>,
    /// What the token can see of the Sentry that keeps the errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentry: Option<SentryStatus>,
}

/// Where the project's events are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseStatus {
    /// The Postgres schema, as "project_42".
    #[schemars(length(max = 63))]
    pub schema: String,
    /// The server and database, as "db.example:5432/errors".
    #[schemars(length(max = 1024))]
    pub server: String,
    /// Id of the database, which a backup of it shows too: tells it from another one at the same address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub installation: Option<String>,
}

/// What receives the project's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestStatus {
    /// Whether the ingest pods are the project's own.
    pub mode: IngestMode,
    /// Where pods of this cluster send events.
    #[serde(rename = "internalURL")]
    #[schemars(length(max = 512))]
    pub internal_url: String,
    /// Where senders outside the cluster send events: from externalURL, ingress or gateway.
    #[serde(rename = "externalURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub external_url: Option<String>,
    /// Pods asked for.
    pub replicas: i32,
    /// Pods that receive events now.
    pub ready_replicas: i32,
    /// Both numbers for people, as "2/2".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub ready: String,
}

/// Whether the ingest pods are the project's own or serve many projects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IngestMode {
    #[default]
    Dedicated,
}
