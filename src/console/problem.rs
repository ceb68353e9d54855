//! Why a request was not answered as asked, and the status that says so. `pages` makes a page of it.

use std::io;

use http::{Method, StatusCode};

use super::{
    auth::Right,
    query::Mistake,
    sign_in::{Refusal, Unreviewed},
};
use crate::store::{StoreError, console::ProjectAddress};

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("there is no {0} at this address")]
    NotFound(&'static str),
    /// There is none, or the caller lacks the right there: the answer must not tell which.
    #[error("there is no project {} in namespace {} for you", .0.name, .0.namespace)]
    NoProject(ProjectAddress, Right),
    /// The page has another address, relative to the console's root.
    #[error("this page is now at {0}")]
    Moved(String),
    /// What is asked for is shown on another page for now, relative to the console's root.
    #[error("this is shown at {0}")]
    See(String),
    /// Whoever asks has to sign in first.
    #[error("nobody is signed in")]
    NotSignedIn,
    #[error("the scopes of this token do not cover this")]
    NotInScope,
    #[error("the session of this form is over: sign in and repeat")]
    SessionOver,
    #[error("the form was not sent from a page of this console")]
    ForeignForm,
    #[error("a form may have at most {0} bytes")]
    TooLong(usize),
    /// Nothing of it counts.
    #[error("the form is not as a page of this console sends it: {0}")]
    BadForm(&'static str),
    #[error("too many forms are being sent at once")]
    Crowded,
    #[error("the methods allowed here are {}", names(.0))]
    MethodNotAllowed(Vec<Method>),
    #[error("{0}")]
    BadQuery(&'static str),
    /// A query of a list that means nothing; a page shows it with the place.
    #[error("column {}: {}", .0.column, .0.sentence.trim_end_matches('.'))]
    BadSearch(Mistake),
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Unreviewed(#[from] Unreviewed),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the stored payload of an event cannot be read: {0}")]
    Payload(#[from] io::Error),
    #[error("a page cannot be rendered: {0}")]
    Template(#[from] askama::Error),
    #[error("an answer cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => Self::Store(error),
            Refusal::Unreviewed(error) => Self::Unreviewed(error),
            refused => Self::Refused(refused),
        }
    }
}

impl Problem {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) | Self::NoProject(..) => StatusCode::NOT_FOUND,
            Self::Moved(_) => StatusCode::PERMANENT_REDIRECT,
            Self::See(_) | Self::NotSignedIn => StatusCode::SEE_OTHER,
            Self::ForeignForm | Self::NotInScope => StatusCode::FORBIDDEN,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadQuery(_) | Self::BadSearch(_) | Self::BadForm(_) | Self::Store(StoreError::Rejected { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::SessionOver | Self::Refused(_) => StatusCode::UNAUTHORIZED,
            // A login that is refused is about to be replaced, or the operator says what is wrong with it.
            Self::Store(error) if error.retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Crowded | Self::Unreviewed(_) | Self::Store(StoreError::NotPermitted { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Store(_) | Self::Payload(_) | Self::Template(_) | Self::Json(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// As in the header `Allow`.
#[must_use]
pub fn names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}
