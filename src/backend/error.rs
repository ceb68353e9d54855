//! Why a backend did not do what it was asked for.

use std::{sync::Arc, time::Duration};

use super::{KeyId, servers::ServerError};
use crate::{crd::Reason, store::StoreError};

/// `Display` is the sentence for people; it names no key and no password.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("{}", .0.message())]
    Store(#[from] StoreError),
    #[error("the project takes no keys yet")]
    ProjectNotReady,
    #[error("there is no key {0}")]
    UnknownKey(KeyId),
    /// The server that keeps the keys.
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
    /// GitLab's answers say whose a key is only when one is asked for at a time.
    #[error("another key is being made in the same project there: this one is next")]
    Busy,
}

/// Why the server that keeps the keys of a project cannot be asked. `Display` is the sentence for people.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotConnected {
    /// The operator has only been started.
    #[error("The operator is connecting to {0}.")]
    NotYet(&'static str),
    #[error("Secret {secret} does not exist in this namespace, or has no key {key}: create it with {what} under {key}")]
    NoSecret { secret: String, key: String, what: &'static str },
    #[error("Secret {secret} was not read: {error}")]
    SecretNotRead { secret: String, error: String },
    /// What it answered last.
    #[error(transparent)]
    Server(Arc<ServerError>),
}

impl NotConnected {
    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotYet(_) => Reason::Progressing,
            Self::NoSecret { .. } => Reason::TokenSecretInvalid,
            Self::SecretNotRead { .. } => Reason::ConnectionFailed,
            Self::Server(error) => reason_of(error),
        }
    }

    /// It takes no more calls for now.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Server(error) if matches!(**error, ServerError::Limited { .. }))
    }

    /// Only a person can mend it.
    #[must_use]
    pub fn stalls(&self) -> bool {
        match self {
            Self::NotYet(_) | Self::SecretNotRead { .. } => false,
            Self::NoSecret { .. } => true,
            Self::Server(error) => !error.retryable(),
        }
    }
}

fn reason_of(error: &ServerError) -> Reason {
    match error {
        ServerError::Unauthorized | ServerError::Forbidden { .. } => Reason::AuthenticationFailed,
        ServerError::HostNotAllowed { .. } => Reason::BackendHostNotAllowed,
        ServerError::NotVerified => Reason::CertificateNotTrusted,
        ServerError::BadCertificates | ServerError::BadUrl => Reason::Invalid,
        ServerError::NotFound { .. } => Reason::BackendProjectNotFound,
        ServerError::Moved { .. } => Reason::BackendProjectMoved,
        ServerError::FeatureOff => Reason::ErrorTrackingDisabled,
        ServerError::Limited { .. } => Reason::BackendLimited,
        ServerError::Rejected { .. } => Reason::BackendRejected,
        ServerError::Unreachable
        | ServerError::NoAnswer
        | ServerError::TooLarge
        | ServerError::NotUnderstood { .. }
        | ServerError::Failing { .. } => Reason::ConnectionFailed,
    }
}

impl BackendError {
    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::ProjectNotReady | Self::Busy => true,
            Self::UnknownKey(_) => false,
            Self::Server(error) => error.retryable(),
            Self::NotConnected(error) => !error.stalls(),
        }
    }

    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::ProjectNotReady => Reason::ProjectNotReady,
            Self::UnknownKey(_) => Reason::Rejected,
            Self::Server(error) => reason_of(error),
            Self::NotConnected(error) => error.reason(),
            Self::Busy => Reason::Progressing,
        }
    }

    /// It is about the server that keeps the keys, not about the ledger.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        matches!(self, Self::Server(_) | Self::NotConnected(_) | Self::Busy)
    }

    /// The server answered, about one key and nothing else: the same may go well with another one.
    #[must_use]
    pub fn is_of_one_key(&self) -> bool {
        matches!(self, Self::Server(ServerError::Rejected { .. } | ServerError::NotUnderstood { .. }))
    }

    /// When the server may be asked again, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server(error) => error.retry_after(),
            Self::NotConnected(NotConnected::Server(error)) => error.retry_after(),
            _ => None,
        }
    }

    /// Another process leads; nothing is to be written any more.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fenced { .. }))
    }
}
