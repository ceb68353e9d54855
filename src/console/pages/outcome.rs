//! What of an action or an undo could not be done, and why.

use askama::Template;
use uuid::Uuid;

use super::{Shell, triage::Form};
use crate::store::console::{Outcome, ProjectAddress, Undo, Undone, issue_number};

/// Errors that are named one by one.
const MAX_NAMED: usize = 50;

#[derive(Debug, Template)]
#[template(path = "outcome.html")]
pub struct OutcomePage {
    shell: Shell,
    heading: &'static str,
    /// `3 errors were changed.`
    summary: String,
    /// What was not done: short id, reason.
    left: Vec<(String, String)>,
    /// How many more.
    omitted: usize,
    back: String,
    undo: Option<UndoForm>,
}

/// The button that takes back what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoForm {
    /// Of the project, below the console's root.
    pub project: String,
    pub batch: String,
    pub form: Form,
    /// What its button says.
    pub label: &'static str,
}

impl UndoForm {
    #[must_use]
    pub fn new(project: &ProjectAddress, batch: Uuid, form: Form) -> Self {
        Self { project: super::project_path(project), batch: batch.to_string(), form, label: "Undo" }
    }
}

impl OutcomePage {
    #[must_use]
    pub fn of_action(
        shell: Shell,
        project: &ProjectAddress,
        to: &str,
        done: Option<Uuid>,
        outcomes: &[(i64, Outcome)],
    ) -> Self {
        let changed = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Changed).count();
        let left = outcomes.iter().filter_map(|(issue, outcome)| Some((*issue, why(*outcome)?.to_owned()))).collect();
        let undo = done.map(|batch| UndoForm::new(project, batch, Form { to: to.to_owned(), ..Form::of(&shell) }));
        let summary = match changed {
            0 => "Nothing was changed.".to_owned(),
            1 => "1 error was changed.".to_owned(),
            changed => format!("{changed} errors were changed."),
        };
        Self::new(shell, "Not everything was done", summary, project, left, to, undo)
    }

    /// `None`: all of it was undone.
    #[must_use]
    pub fn of_undo(shell: Shell, project: &ProjectAddress, to: &str, undo: &Undo) -> Option<Self> {
        let (heading, summary, left) = match undo {
            Undo::TooLate => (
                "Too late to undo",
                "What was done more than 24 hours ago cannot be undone at once.".to_owned(),
                Vec::new(),
            ),
            Undo::Unknown => ("Nothing to undo", "There is no such change in this project.".to_owned(), Vec::new()),
            Undo::Done(issues) => {
                let left: Vec<_> = issues.iter().filter_map(|(issue, undone)| Some((*issue, kept(undone)?))).collect();
                if left.is_empty() {
                    return None;
                }
                let restored = issues.iter().filter(|(_, undone)| *undone == Undone::Restored).count();
                ("Not everything was undone", format!("{restored} of {} were put back.", issues.len()), left)
            }
        };
        Some(Self::new(shell, heading, summary, project, left, to, None))
    }

    fn new(
        shell: Shell,
        heading: &'static str,
        summary: String,
        project: &ProjectAddress,
        left: Vec<(i64, String)>,
        to: &str,
        undo: Option<UndoForm>,
    ) -> Self {
        let omitted = left.len().saturating_sub(MAX_NAMED);
        let left = left
            .into_iter()
            .take(MAX_NAMED)
            .map(|(issue, why)| (super::short_id(&project.name, issue_number(issue)), why))
            .collect();
        Self { shell, heading, summary, left, omitted, back: to.to_owned(), undo }
    }
}

/// Why nothing was done.
pub(super) fn why(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Changed | Outcome::Unchanged => None,
        Outcome::Gone => Some("there is no such error any more"),
        Outcome::Merged => Some("it was merged into another error: act on that one"),
        Outcome::WithoutRelease => Some("its last event names no release: resolve it now, or in a named release"),
        Outcome::TargetGone => Some("the error to merge into is not there"),
        Outcome::Cycle => Some("it cannot be merged into itself"),
    }
}

fn kept(undone: &Undone) -> Option<String> {
    match undone {
        Undone::Restored => None,
        Undone::Before => Some("was undone before".to_owned()),
        Undone::ChangedSince { by, kind } => {
            let by = by.as_deref().map_or_else(|| "an event".to_owned(), super::visible);
            let kind = kind.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
            Some(format!("was changed since by {by}{kind}, and stays as it is"))
        }
    }
}
