//! Why a step of a plan did not work, and what a user can do about it.

use super::{apply::ApplyError, child::ChildKind, database};
use crate::{crd::Reason, store::StoreError};

/// A step that failed. `Display` is the sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", describe_conflict(*kind, name, holder.as_deref()))]
    Conflict { kind: ChildKind, name: String, holder: Option<String> },
    /// The project is in another database than the one that the operator uses now.
    #[error("{0}")]
    DatabaseChanged(String),
    #[error("{message}")]
    Database { reason: Reason, message: String, retryable: bool },
    #[error("{0}")]
    Kubernetes(String),
    /// The operator lacks a right; the API server's sentence names verb and resource.
    #[error("{0}: the rights of the operator's ClusterRole are not what the chart gives")]
    Forbidden(String),
    /// The API server refuses what the spec asks for: the same again would be refused again.
    #[error("{0}")]
    Invalid(String),
    /// What the spec asks for cannot be had here; the message says what to do.
    #[error("{message}")]
    Unmet { reason: Reason, message: String },
    /// Another process leads; nothing is to be written any more.
    #[error("{0}")]
    Fenced(String),
    /// Something else must happen first.
    #[error("{0}")]
    Waiting(String),
}

impl Failure {
    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Conflict { kind: ChildKind::Secret, .. } => Reason::SecretConflict,
            Self::Conflict { .. } => Reason::NameConflict,
            Self::DatabaseChanged(_) => Reason::DatabaseChanged,
            Self::Database { reason, .. } | Self::Unmet { reason, .. } => *reason,
            Self::Kubernetes(_) | Self::Invalid(_) => Reason::Rejected,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::Waiting(_) | Self::Fenced(_) => Reason::Progressing,
        }
    }

    /// Only a user can mend it.
    #[must_use]
    pub fn stalls(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Invalid(_) | Self::DatabaseChanged(_) | Self::Unmet { .. } => true,
            Self::Database { reason, .. } => matches!(
                reason,
                Reason::SchemaConflict | Reason::DatabaseHostNotAllowed | Reason::DatabaseSecretInvalid
            ),
            Self::Kubernetes(_) | Self::Forbidden(_) | Self::Waiting(_) | Self::Fenced(_) => false,
        }
    }

    /// Whether the same step can pass in a moment.
    #[must_use]
    pub fn retry_soon(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Invalid(_)
            | Self::DatabaseChanged(_)
            | Self::Unmet { .. }
            | Self::Forbidden(_) => false,
            Self::Database { retryable, .. } => *retryable,
            Self::Kubernetes(_) | Self::Waiting(_) | Self::Fenced(_) => true,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Fenced { .. }) {
            return Self::Fenced(error.to_string());
        }
        let message = error.message().into_owned();
        Self::Database { reason: database::reason(&error), message, retryable: error.retryable() }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Conflict { kind, name, holder } => Self::Conflict { kind, name, holder },
            ApplyError::Leaving { .. } => Self::Waiting(error.to_string()),
            ApplyError::Kubernetes { ref source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.code == 422 => Self::Invalid(error.to_string()),
                kube::Error::Api(status) if status.code == 403 => Self::Forbidden(error.to_string()),
                // It changed since it was read: the next pass reads it again.
                kube::Error::Api(status) if status.code == 409 => Self::Waiting(error.to_string()),
                _ => Self::Kubernetes(error.to_string()),
            },
        }
    }
}

/// What to do depends on whose the object is: the operator made it for another resource, or somebody else made it.
pub fn describe_conflict(kind: ChildKind, name: &str, holder: Option<&str>) -> String {
    match holder {
        Some(holder) => format!("{kind} {name} belongs to {holder}: make this object anew under another name"),
        None if kind == ChildKind::Secret => format!(
            "Secret {name} was not made by the operator and is left alone: delete it if nobody needs it, or make this \
             object anew under another name"
        ),
        None => format!(
            "{kind} {name} was not made by the operator and is left alone: delete it if nobody needs it, or give this \
             object another name"
        ),
    }
}
