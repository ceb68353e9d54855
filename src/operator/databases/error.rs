//! Why a database cannot be used, and the word for the conditions that say so.

use std::sync::Arc;

use crate::{
    backend::BackendError,
    crd::Reason,
    kubernetes::KubeError,
    store::{StoreError, connection::ConnectionError},
};

/// Why a project's database cannot be used now. `Display` is the sentence for people.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("The operator is connecting to Postgres.")]
    Connecting,
    /// What was said of it before holds.
    #[error(transparent)]
    Migrating(Arc<ConnectError>),
    #[error(transparent)]
    NotConnected(Arc<ConnectError>),
    /// It answers, and refuses what every pass asks first.
    #[error(transparent)]
    Refused(Arc<BackendError>),
}

impl Unavailable {
    pub fn refused(error: impl Into<BackendError>) -> Self {
        Self::Refused(Arc::new(error.into()))
    }

    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Connecting => Reason::DatabaseUnavailable,
            Self::Migrating(error) | Self::NotConnected(error) => error.reason(),
            Self::Refused(error) => error.reason(),
        }
    }
}

/// Why the operator is not connected to a database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    #[error("Secret {name} does not exist in {}: create it with uri, or host, port, dbname, username and password", place(*of_project))]
    NoSecret { name: String, of_project: bool },
    #[error("Secret {name} cannot be used: {source}")]
    BadSecret { name: String, source: ConnectionError, of_project: bool },
    #[error(
        "Secret {secret} names the host {host}, which this installation does not allow: use the operator's database, or \
         ask the platform team to add the host to allowedDatabaseHosts"
    )]
    HostNotAllowed { secret: String, host: String },
    #[error("Postgres at {server}, login of Secret {secret}: {}", source.message())]
    Store { server: String, secret: String, source: StoreError },
    #[error(
        "Postgres at {server}, login of Secret {secret}: its epoch {stored} is ahead of the operator's: {ours}. Another \
         installation has used this database, or somebody has changed errortracking.installation there"
    )]
    EpochAhead { server: String, secret: String, stored: i64, ours: i64 },
    #[error(
        "Postgres at {server}: a transaction that is open there keeps its schema from being brought to this version. What \
         is there goes on as it is; this is tried again until the transaction ends"
    )]
    Migrating { server: String, source: StoreError },
    #[error("Secret {0} has changed")]
    SecretChanged(String),
    #[error("Postgres at {0} was started anew")]
    StartedAnew(String),
    #[error("the server runs with fsync=off and would lose acknowledged events in a crash: turn fsync on")]
    DurabilityOff,
}

fn place(of_project: bool) -> &'static str {
    if of_project { "this namespace" } else { "the operator's namespace" }
}

impl ConnectError {
    /// The word for the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoSecret { of_project: true, .. } | Self::BadSecret { of_project: true, .. } => {
                Reason::DatabaseSecretInvalid
            }
            Self::Migrating { .. } => Reason::Progressing,
            Self::Kubernetes(_) | Self::NoSecret { .. } | Self::SecretChanged(_) | Self::StartedAnew(_) => {
                Reason::DatabaseUnavailable
            }
            Self::BadSecret { .. } | Self::EpochAhead { .. } => Reason::DatabaseRejected,
            Self::HostNotAllowed { .. } => Reason::DatabaseHostNotAllowed,
            Self::DurabilityOff => Reason::DurabilityOff,
            Self::Store { source, .. } => source.reason(),
        }
    }
}
