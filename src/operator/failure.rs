//! Why a step of a plan did not work, and what a user can do about it.

use super::{apply::ApplyError, child::ChildKind, database};
use crate::{crd::Reason, store::StoreError};

/// A step that failed. `Display` is the sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{kind} {name} exists and does not belong to this object: delete or rename it, then it is made anew")]
    Conflict { kind: ChildKind, name: String },
    #[error("{message}")]
    Database { reason: Reason, message: String, retryable: bool },
    #[error("{0}")]
    Kubernetes(String),
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
            Self::Database { reason, .. } => *reason,
            Self::Kubernetes(_) => Reason::Rejected,
            Self::Waiting(_) => Reason::Progressing,
        }
    }

    /// Only a user can mend it.
    #[must_use]
    pub fn stalls(&self) -> bool {
        match self {
            Self::Conflict { .. } => true,
            Self::Database { reason, .. } => *reason == Reason::SchemaConflict,
            Self::Kubernetes(_) | Self::Waiting(_) => false,
        }
    }

    /// Whether the same step can pass in a moment.
    #[must_use]
    pub fn retry_soon(&self) -> bool {
        match self {
            Self::Conflict { .. } => false,
            Self::Database { retryable, .. } => *retryable,
            Self::Kubernetes(_) | Self::Waiting(_) => true,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Database {
            reason: database::reason(&error),
            message: error.message().into_owned(),
            retryable: error.retryable(),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Conflict { kind, name } => Self::Conflict { kind, name },
            ApplyError::Kubernetes { .. } => Self::Kubernetes(error.to_string()),
        }
    }
}
