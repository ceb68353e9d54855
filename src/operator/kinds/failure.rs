//! Why a step of a plan did not work, and what a user can do about it.

use crate::{
    backend::BackendError,
    crd::Reason,
    operator::{
        databases::tombstones::Unsettled,
        engine::pass::{Outlook, StepFailure},
        objects::{ApplyError, child::ChildKind, describe_conflict},
    },
    store::StoreError,
};

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
        self.outlook() == Outlook::Stalled
    }
}

impl StepFailure for Failure {
    fn no_answer() -> Self {
        Self::Waiting("a server did not answer in time".into())
    }

    fn outlook(&self) -> Outlook {
        match self {
            Self::Conflict { .. } | Self::Invalid(_) | Self::DatabaseChanged(_) | Self::Unmet { .. } => {
                Outlook::Stalled
            }
            Self::Database { reason, retryable, .. } => match reason {
                Reason::SchemaConflict | Reason::DatabaseHostNotAllowed | Reason::DatabaseSecretInvalid => {
                    Outlook::Stalled
                }
                _ if *retryable => Outlook::RetrySoon,
                _ => Outlook::Wait,
            },
            Self::Forbidden(_) => Outlook::Wait,
            Self::Kubernetes(_) | Self::Waiting(_) => Outlook::RetrySoon,
            Self::Fenced(_) => Outlook::Fenced,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Fenced { .. }) {
            return Self::Fenced(error.to_string());
        }
        let message = error.message().into_owned();
        Self::Database { reason: error.reason(), message, retryable: error.retryable() }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Store(error) => error.into(),
            BackendError::ProjectNotReady => Self::Waiting(error.to_string()),
            BackendError::UnknownKey(_) => {
                Self::Database { reason: error.reason(), message: error.to_string(), retryable: error.retryable() }
            }
        }
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

impl From<Unsettled> for Failure {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Store(error) => error.into(),
            Unsettled::Backend(error) => error.into(),
            Unsettled::Apply(error) => error.into(),
            Unsettled::Waiting(_) => Self::Waiting(unsettled.to_string()),
        }
    }
}
