//! The page that says what went wrong.

use askama::Template;
use http::StatusCode;

use super::Shell;
use crate::{
    console::problem::Problem,
    console_api,
    store::{StoreError, console::ProjectAddress},
};

#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    shell: Shell,
    code: u16,
    heading: &'static str,
    explanation: String,
    /// Shows whether the caller lacks a right.
    command: Option<String>,
    /// Whether the same address may work soon.
    retry: bool,
}

impl ProblemPage {
    #[must_use]
    pub fn new(shell: Shell, problem: &Problem) -> Self {
        let status = problem.status();
        let (heading, explanation) = match status {
            StatusCode::NOT_FOUND if matches!(problem, Problem::NoProject(..)) => (
                "Not found",
                "There is no such project, or you may not see it. This says the same of both; Kubernetes knows what you \
                 may:"
                    .to_owned(),
            ),
            StatusCode::NOT_FOUND => (
                "Not found",
                format!(
                    "{}. It may have been deleted, or its last event is past the retention.",
                    sentence(problem)
                ),
            ),
            StatusCode::SERVICE_UNAVAILABLE if matches!(problem, Problem::Unreviewed(_)) => (
                "Kubernetes does not answer",
                "What you may see cannot be found out until it does. The console's log has the details.".to_owned(),
            ),
            StatusCode::UNAUTHORIZED => ("Sign in first", format!("{}.", sentence(problem))),
            StatusCode::FORBIDDEN if matches!(problem, Problem::NotInScope) => {
                ("Not for this token", format!("{}.", sentence(problem)))
            }
            StatusCode::FORBIDDEN => (
                "Not sent from here",
                format!("{}. Nothing was changed: open the page anew and repeat.", sentence(problem)),
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("Too long", format!("{}. Nothing was changed.", sentence(problem))),
            StatusCode::BAD_REQUEST if matches!(problem, Problem::BadForm(_)) => {
                ("This form is not understood", format!("{}. Nothing was changed.", sentence(problem)))
            }
            StatusCode::BAD_REQUEST if matches!(problem, Problem::Store(_)) => (
                "Not possible",
                format!("{}. Nothing was changed.", sentence(problem)),
            ),
            StatusCode::SERVICE_UNAVAILABLE if matches!(problem, Problem::Crowded) => {
                ("Too much at once", format!("{}. Nothing was changed.", sentence(problem)))
            }
            StatusCode::SERVICE_UNAVAILABLE if matches!(problem, Problem::Store(StoreError::Busy { .. })) => (
                "Somebody else is at it",
                "What this page needs is held by something else for longer than it may wait. Nothing was changed."
                    .to_owned(),
            ),
            StatusCode::SERVICE_UNAVAILABLE => (
                "The database does not answer",
                "Errors cannot be shown until it does. Events are received without the console, so that none is lost by this. Its log has \
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
        Self { shell, code: status.as_u16(), heading, explanation, command: command(problem), retry }
    }
}

/// The same for a program.
#[must_use]
pub fn for_program(shell: Shell, problem: &Problem, status: StatusCode) -> console_api::Problem {
    let ProblemPage { explanation, command, .. } = ProblemPage::new(shell, problem);
    console_api::Problem { status: status.as_u16(), error: explanation, command }
}

/// Only for what can be the name of an object: anybody can write an address.
fn command(problem: &Problem) -> Option<String> {
    let Problem::NoProject(ProjectAddress { namespace, name }, right) = problem else { return None };
    let (verb, subresource) = right.review()?;
    let is_name = |text: &str| {
        (1..=253).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    let command =
        || format!("kubectl auth can-i {verb} errortrackingprojects/{name} --subresource={subresource} -n {namespace}");
    (is_name(namespace) && is_name(name)).then(command)
}

fn sentence(problem: &Problem) -> String {
    let text = problem.to_string();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
