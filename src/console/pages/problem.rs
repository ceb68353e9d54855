//! The page that says what went wrong.

use askama::Template;
use http::StatusCode;

use super::Shell;
use crate::console::problem::Problem;

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

impl ProblemPage {
    #[must_use]
    pub fn new(shell: Shell, problem: &Problem) -> Self {
        let status = problem.status();
        let (heading, explanation) = match status {
            StatusCode::NOT_FOUND => (
                "Not found",
                format!(
                    "{}. It may have been deleted, or its last event is past the retention.",
                    sentence(problem)
                ),
            ),
            StatusCode::SERVICE_UNAVAILABLE => (
                "The database does not answer",
                "Errors cannot be shown until it does. Nothing is lost by this page: the console only reads. Its log has \
                 the details."
                    .to_owned(),
            ),
            StatusCode::INTERNAL_SERVER_ERROR => {
                ("Something went wrong here", "This page cannot be shown. The console's log says why.".to_owned())
            }
            StatusCode::METHOD_NOT_ALLOWED => ("Not allowed", format!("{}.", sentence(problem))),
            _ => ("This address is not understood", format!("{}.", sentence(problem))),
        };
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        Self { shell, code: status.as_u16(), heading, explanation, retry }
    }
}

fn sentence(problem: &Problem) -> String {
    let text = problem.to_string();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
