//! Why a database cannot be used, and the word for the conditions that say so.

use crate::{crd::Reason, kubernetes::kube_message, store::StoreError};

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("failed to {verb} {kind} {name}: {}", kube_message(source))]
    Kubernetes { verb: &'static str, kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("Secret {name} does not exist in {}: create it with uri, or host, port, dbname, username and password", place(*theirs))]
    NoSecret { name: String, theirs: bool },
    #[error("Secret {name} cannot be used: {message}")]
    BadSecret { name: String, message: String, theirs: bool },
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
    #[error("Secret {0} has changed")]
    SecretChanged(String),
    #[error("Postgres at {0} was started anew")]
    StartedAnew(String),
    #[error("the server runs with fsync=off and would lose acknowledged events in a crash: turn fsync on")]
    DurabilityOff,
}

fn place(theirs: bool) -> &'static str {
    if theirs { "this namespace" } else { "the operator's namespace" }
}

impl ConnectError {
    /// The word for the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoSecret { theirs: true, .. } | Self::BadSecret { theirs: true, .. } => Reason::DatabaseSecretInvalid,
            Self::Kubernetes { .. } | Self::NoSecret { .. } | Self::SecretChanged(_) | Self::StartedAnew(_) => {
                Reason::DatabaseUnavailable
            }
            Self::BadSecret { .. } | Self::EpochAhead { .. } => Reason::DatabaseRejected,
            Self::HostNotAllowed { .. } => Reason::DatabaseHostNotAllowed,
            Self::DurabilityOff => Reason::DurabilityOff,
            Self::Store { source, .. } => source.reason(),
        }
    }
}
