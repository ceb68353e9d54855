//! The page that says what went wrong.

use askama::Template;
use http::StatusCode;

use super::Shell;
use crate::store::StoreError;

/// Why a page could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("there is no {0} at this address")]
    NotFound(&'static str),
    #[error("only GET and HEAD are allowed here")]
    MethodNotAllowed,
    #[error("{0}")]
    BadQuery(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the stored payload of an event cannot be read: {0}")]
    Payload(#[from] std::io::Error),
    #[error("a page cannot be rendered: {0}")]
    Template(#[from] askama::Error),
}

impl Problem {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadQuery(_) => StatusCode::BAD_REQUEST,
            // A login that is refused is about to be replaced, or the operator says what is wrong with it.
            Self::Store(error) if error.retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::NotPermitted { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Payload(_) | Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    #[must_use]
    pub fn page(&self, shell: Shell) -> ProblemPage {
        let status = self.status();
        let (heading, explanation) = match status {
            StatusCode::NOT_FOUND => {
                ("Not found", format!("{}. It may have been deleted, or its last event is past the retention.", sentence(self)))
            }
            StatusCode::SERVICE_UNAVAILABLE => (
                "The database does not answer",
                "Errors cannot be shown until it does. Nothing is lost by this page: the console only reads. Its log has \
                 the details."
                    .to_owned(),
            ),
            StatusCode::INTERNAL_SERVER_ERROR => {
                ("Something went wrong here", "This page cannot be shown. The console's log says why.".to_owned())
            }
            StatusCode::METHOD_NOT_ALLOWED => ("Not allowed", format!("{}.", sentence(self))),
            _ => ("This address is not understood", format!("{}.", sentence(self))),
        };
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        ProblemPage { shell, code: status.as_u16(), heading, explanation, retry }
    }
}

fn sentence(problem: &Problem) -> String {
    let text = problem.to_string();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    shell: Shell,
    code: u16,
    heading: &'static str,
    explanation: String,
    /// Whether the same address may work soon.
    retry: bool,
}
