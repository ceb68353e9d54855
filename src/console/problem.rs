//! Why a request was not answered as asked, and the status that says so. `pages` makes a page of it.

use std::io;

use http::{Method, StatusCode};

use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Also what the caller may not see.
    #[error("there is no {0} at this address")]
    NotFound(&'static str),
    #[error("the methods allowed here are {}", names(.0))]
    MethodNotAllowed(Vec<Method>),
    #[error("{0}")]
    BadQuery(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the stored payload of an event cannot be read: {0}")]
    Payload(#[from] io::Error),
    #[error("a page cannot be rendered: {0}")]
    Template(#[from] askama::Error),
}

impl Problem {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadQuery(_) => StatusCode::BAD_REQUEST,
            // A login that is refused is about to be replaced, or the operator says what is wrong with it.
            Self::Store(error) if error.retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::NotPermitted { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Payload(_) | Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// As in the header `Allow`.
#[must_use]
pub fn names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}
