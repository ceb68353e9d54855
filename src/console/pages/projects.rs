//! `/`: every project of the installation.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    format::{Moment, count, counted},
};
use crate::store::console::ProjectSummary;

#[derive(Debug, Template)]
#[template(path = "projects.html")]
pub struct ProjectsPage {
    shell: Shell,
    total: String,
    projects: Vec<ProjectRow>,
}

#[derive(Debug)]
struct ProjectRow {
    id: u64,
    title: String,
    namespace: String,
    platform: Option<String>,
    /// `None` while the project's schema is not there yet.
    numbers: Option<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    unresolved: String,
    events_24h: String,
    last_event: Option<Moment>,
}

impl ProjectsPage {
    #[must_use]
    pub fn new(shell: Shell, projects: &[ProjectSummary], now: Timestamp) -> Self {
        let total = counted(projects.len() as u64, "project");
        Self { shell, total, projects: projects.iter().map(|summary| row(summary, now)).collect() }
    }
}

fn row(summary: &ProjectSummary, now: Timestamp) -> ProjectRow {
    let head = ProjectHead::from(&summary.project);
    let numbers = summary.numbers.as_ref().map(|numbers| Numbers {
        unresolved: count(numbers.unresolved),
        events_24h: count(numbers.events),
        last_event: numbers.last_event.map(|at| Moment::new(at, now)),
    });
    // What the object says; else what its errors came from.
    let seen = || summary.numbers.as_ref().map(|numbers| numbers.platforms.join(", ")).filter(|seen| !seen.is_empty());
    let platform = head.platform.or_else(seen);
    ProjectRow { id: head.id, title: head.title, namespace: head.namespace, platform, numbers }
}
