//! Why a backend did not do what it was asked for.

use super::KeyId;
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
}

impl BackendError {
    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::ProjectNotReady => true,
            Self::UnknownKey(_) => false,
        }
    }

    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::ProjectNotReady => Reason::ProjectNotReady,
            Self::UnknownKey(_) => Reason::Rejected,
        }
    }

    /// Another process leads; nothing is to be written any more.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fenced { .. }))
    }
}
