//! `/-/go`: what was found of what somebody typed, where that is not one error.

use askama::Template;

use super::{Shell, format::counted, project_path, short_id, untrusted::visible};
use crate::{
    protocol::event::EventId,
    store::console::{Issue, Project},
};

/// Of a text that is shown again.
const MAX_TEXT_CHARS: usize = 100;

#[derive(Debug, Template)]
#[template(path = "go.html")]
pub struct GoPage {
    shell: Shell,
    heading: String,
    explanation: &'static str,
    /// As it was typed.
    text: String,
    rows: Vec<HitRow>,
    /// Not everything was looked through.
    cut: bool,
}

#[derive(Debug)]
struct HitRow {
    /// Relative to the console's root.
    place: String,
    short_id: String,
    title: String,
    /// `web/shop`
    project: String,
    status: &'static str,
}

/// An error that was looked for, or one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub project: Project,
    pub issue: Issue,
    pub event: Option<EventId>,
}

impl Hit {
    /// Its page, relative to the console's root.
    #[must_use]
    pub fn place(&self) -> String {
        let event = self.event.map(|event| format!("/events/{event}")).unwrap_or_default();
        format!("{}/issues/{}{event}", project_path(&self.project.address()), self.issue.number())
    }
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Nothing was typed.
    Nowhere,
    NotUnderstood,
    Found {
        hits: Vec<Hit>,
        cut: bool,
    },
}

impl GoPage {
    #[must_use]
    pub fn new(shell: Shell, text: &str, looked: &Looked) -> Self {
        const MAY: &str = "There is none, or you may not see it: this says the same of both.";
        let (hits, cut) = match looked {
            Looked::Found { hits, cut } => (hits.as_slice(), *cut),
            Looked::Nowhere | Looked::NotUnderstood => (&[][..], false),
        };
        let (heading, explanation) = match (looked, hits.len()) {
            (Looked::Nowhere, _) => ("Go to an error".to_owned(), ""),
            (Looked::NotUnderstood, _) => ("This is not understood".to_owned(), "It names no error and no event."),
            (_, 0) => ("Nothing found".to_owned(), MAY),
            (_, found) => (format!("{} found", counted(found as u64, "error")), ""),
        };
        let row = |hit: &Hit| HitRow {
            place: hit.place(),
            short_id: short_id(&hit.project.name, hit.issue.number()),
            title: visible(&hit.issue.title),
            project: visible(&format!("{}/{}", hit.project.namespace, hit.project.name)),
            status: hit.issue.status.as_str(),
        };
        let text = visible(text.trim()).chars().take(MAX_TEXT_CHARS).collect();
        Self { shell, heading, explanation, text, rows: hits.iter().map(row).collect(), cut }
    }
}
