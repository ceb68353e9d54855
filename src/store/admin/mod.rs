//! What the leading operator changes in a database: projects, schemas, logins, partitions, keys.
//!
//! Every change is idempotent and one transaction that starts with the epoch of the leader: a newer
//! leader's claim turns it away ([`super::StoreError::Fenced`]). What cannot run in a transaction (detaching a
//! partition, ending a login's sessions) is fenced just before and harmless when repeated.

mod catalog;
mod floods;
mod former_logins;
mod ingest_pods;
mod instances;
mod key_secrets;
mod keys;
mod leader;
mod numbers;
mod observe;
mod observed_keys;
mod partitions;
mod projects;
mod public;
mod refused;
mod retention;
mod retire;
mod rights;
mod roles;
mod scram;
mod server;
mod server_keys;
mod sweep;
mod usage;

use std::fmt;

use jiff::Timestamp;
use sqlx::PgPool;

pub(super) use self::keys::state_of_key;
pub use self::{
    catalog::CatalogProject,
    floods::{Flood, FloodKind},
    former_logins::LeftLogin,
    ingest_pods::{LONGEST_TRANSACTION, PodGrant, connection_limit},
    instances::{Ended, IngestInstance},
    leader::Leader,
    numbers::NumberTaken,
    refused::{RefusedAddress, RefusedUse},
    retention::Expired,
    roles::{FORMER_LOGIN_VALID, password_digest},
    server::ServerFacts,
    server_keys::{Answer, Begun, LostAnswer, Place, ServerKeyRow},
    usage::{OutcomeCount, ProjectUsage},
};
use crate::{
    dsn::{ProjectId, PublicKey},
    rotation::State,
    settings::{RateLimit, Settings},
};

/// The operator's hand in one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    pool: PgPool,
    epoch: i64,
    installation: InstallationId,
    server: ServerFacts,
    /// `None`: whoever leads the database, this one is beside it.
    leader: Option<Leader>,
}

/// Eight lower-case hex digits that tell the roles of installations on one server apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallationId(String);

impl InstallationId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first login of a project's ingest pods: `et_1a2b3c4d_42_ingest`.
    #[must_use]
    pub fn ingest_role(&self, project: ProjectId) -> String {
        format!("et_{self}_{project}_ingest")
    }

    /// Every name that a login of the project's ingest pods can have: the first, then `…_ingest_2` to `…_ingest_9`.
    #[must_use]
    pub fn ingest_roles(&self, project: ProjectId) -> Vec<String> {
        let first = self.ingest_role(project);
        std::iter::once(first.clone()).chain((2..=9).map(|number| format!("{first}_{number}"))).collect()
    }

    /// Holds what all ingest logins may do in the schema `errortracking`; nobody logs in as it.
    #[must_use]
    pub fn ingest_group(&self) -> String {
        format!("et_{self}_ingest")
    }

    /// The login of the console.
    #[must_use]
    pub fn console_role(&self) -> String {
        format!("et_{self}_console")
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Which Kubernetes object a project is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectIdentity {
    pub namespace: String,
    pub name: String,
    pub namespace_uid: String,
    pub object_uid: String,
}

/// Where a project is kept that is not in the operator's own database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Secret with its login, in the project's namespace.
    pub secret: String,
    /// "host:port/dbname", for people.
    pub server: String,
}

/// What happens to the schema when the object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    Retain,
    Delete,
}

impl DeletionPolicy {
    /// As the column `deletion_policy` of `errortracking.projects` has it, and the custom resource.
    fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }

    /// What cannot be read deletes nothing.
    fn from_column(policy: &str) -> Self {
        if policy == Self::Delete.as_str() { Self::Delete } else { Self::Retain }
    }
}

/// What the database keeps of the object's spec: for when the object is gone, for people, and for ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSettings {
    pub deletion_policy: DeletionPolicy,
    pub display_name: Option<String>,
    pub platform: Option<String>,
    pub ingest: Settings,
}

/// Where a project is in its life; `Deleted` rows stay, so that ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Active,
    Retained,
    Deleted,
}

impl Phase {
    /// As the column `state` of `errortracking.projects` has it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retained => "retained",
            Self::Deleted => "deleted",
        }
    }

    /// A check of the column lets no other word in.
    fn from_column(state: &str) -> Self {
        [Self::Active, Self::Retained].into_iter().find(|phase| phase.as_str() == state).unwrap_or(Self::Deleted)
    }
}

/// Whose schema `project_N` is, by its comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaOwner {
    Absent,
    Ours,
    Other,
}

/// A range of `received_at`, from inclusive, to exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The project as the database has it.
#[derive(Clone, Debug)]
pub struct ProjectRow {
    pub project_id: ProjectId,
    pub identity: ProjectIdentity,
    pub phase: Phase,
    /// `None`: what is recorded cannot be read.
    pub settings: Option<ProjectSettings>,
    /// `None`: in this database.
    pub location: Option<Location>,
    pub schema_owner: SchemaOwner,
    /// 0: not migrated yet.
    pub schema_version: i32,
    pub ingest_role: Option<String>,
    pub role_exists: bool,
    /// The login may call every function that ingest needs.
    pub grants_ok: bool,
    /// The login is as this version makes it, or not of our making.
    pub login_current: bool,
    /// Sessions that the login may have; `None` without a login of ours.
    pub connection_limit: Option<i32>,
    /// Pods that were granted last; `None`: nothing was said yet.
    pub ingest_pods: Option<u32>,
    /// When the login became the project's; `None`: nothing is known of it.
    pub login_since: Option<Timestamp>,
    /// When something was accepted last with any of its keys, by the database's clock.
    pub keys_used_at: Option<Timestamp>,
    /// What came in such numbers within the last hour that limits were met, by its kind.
    pub floods: Vec<Flood>,
    /// External URLs that the DSNs of keys name which are accepted; at most 20.
    pub endpoints: Vec<String>,
    /// SHA-256 of the password that was set last.
    pub password_digest: Option<[u8; 32]>,
    /// Oldest first.
    pub partitions: Vec<Partition>,
}

impl ProjectRow {
    /// Whether the schema has every migration this program knows.
    #[must_use]
    pub fn migrated(&self) -> bool {
        self.schema_owner == SchemaOwner::Ours && self.schema_version >= Admin::project_schema_version()
    }

    /// Whether two whole partitions are ready after the one in use.
    #[must_use]
    pub fn partitions_ready(&self, now: Timestamp) -> bool {
        self.partitions.iter().any(|partition| partition.from <= now && now < partition.to)
            && self.partitions.iter().filter(|partition| partition.from > now).count() >= partitions::AHEAD
    }

    /// Whether the login exists with its rights and this password.
    #[must_use]
    pub fn login_ready(&self, password_digest: [u8; 32]) -> bool {
        self.role_exists && self.grants_ok && self.login_current && self.password_digest == Some(password_digest)
    }
}

/// Which Kubernetes object a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyIdentity {
    pub namespace: String,
    pub name: String,
    pub namespace_uid: String,
    pub client_key_uid: String,
}

/// A client key as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub key_id: i64,
    pub project_id: ProjectId,
    pub ordinal: i32,
    pub public_key: PublicKey,
    pub enabled: bool,
    pub rate_limit: Option<RateLimit>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub state: State,
    /// When the newest write was that made the Secret name the key, by the API server's clock; `None` while it is written.
    pub published_at: Option<Timestamp>,
    /// Of a key in its overlap: since when.
    pub retiring_since: Option<Timestamp>,
    /// When it was refused first.
    pub ended_at: Option<Timestamp>,
    /// It had ended and is accepted again.
    pub restored: bool,
    /// The version of the project's settings that holds the key first.
    pub settings_version: i64,
    /// Workloads that were restarted because the Secret names the key now, as "Deployment/shop".
    pub restarted: Vec<String>,
    /// Something was sent with it in the last hour when it was refused.
    pub refused: bool,
    /// The external URL that its DSN names, once that is recorded.
    pub endpoint: Option<String>,
}

/// The objects that keys are observed for, by their uids.
#[derive(Clone, Copy, Debug)]
pub struct KeyObjects<'a> {
    pub project_uid: &'a str,
    pub client_key_uid: &'a str,
}

/// What one look shows of the keys of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKeys {
    /// The project, when it can take keys.
    pub project: Option<ProjectId>,
    /// The newest, oldest first, the dead ones too.
    pub keys: Vec<KeyRow>,
    /// By the database's clock.
    pub now: Timestamp,
    /// Those of the project's ingest that have reported and are not forgotten: one that ended clean is after a day, any
    /// other after a month. `None`: no key of the object goes on beside another one, so nobody asks.
    pub instances: Option<Vec<IngestInstance>>,
}
