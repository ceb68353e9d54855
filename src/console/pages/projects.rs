//! `/`: every project that the caller may see.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    format::{Moment, count, counted},
};
use crate::console::databases::{ListedProject, Listing, ProjectState};

#[derive(Debug, Template)]
#[template(path = "projects.html")]
pub struct ProjectsPage {
    shell: Shell,
    total: String,
    projects: Vec<ProjectRow>,
    /// Database servers that did not answer. The name of the installation's own is the platform's affair.
    unreachable: Vec<String>,
}

#[derive(Debug)]
struct ProjectRow {
    title: String,
    /// Its pages below the console's root.
    address: String,
    namespace: String,
    platform: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Readable(Numbers),
    /// Why there are no numbers.
    Not(String),
}

#[derive(Debug)]
struct Numbers {
    unresolved: String,
    events_24h: String,
    last_event: Option<Moment>,
}

impl ProjectsPage {
    #[must_use]
    pub fn new(shell: Shell, listing: &Listing, now: Timestamp) -> Self {
        let total = counted(listing.projects.len() as u64, "project");
        let unreachable = listing.unreachable.iter().map(|away| match away.namespace {
            None => "the installation's own".to_owned(),
            Some(_) => away.server.clone(),
        });
        let unreachable = unreachable.collect();
        let projects = listing.projects.iter().map(|listed| row(listed, now)).collect();
        Self { shell, total, projects, unreachable }
    }
}

fn row(listed: &ListedProject, now: Timestamp) -> ProjectRow {
    let head = ProjectHead::from(&listed.project);
    let server = listed.project.server.as_deref().unwrap_or("another server");
    let (state, seen) = match &listed.state {
        ProjectState::Readable(numbers) => {
            let shown = Numbers {
                unresolved: count(numbers.unresolved),
                events_24h: count(numbers.events),
                last_event: numbers.last_event.map(|at| Moment::new(at, now)),
            };
            (State::Readable(shown), Some(numbers.platforms.join(", ")).filter(|seen| !seen.is_empty()))
        }
        ProjectState::BeingSetUp => (State::Not("being set up".to_owned()), None),
        ProjectState::Unreachable => (State::Not(format!("kept on {server}, which does not answer")), None),
        ProjectState::NoLogin => (State::Not(format!("kept on {server}, which this console has no login for")), None),
    };
    // What the object says; else what its errors came from.
    let platform = head.platform.or(seen);
    ProjectRow { title: head.title, address: head.address, namespace: head.namespace, platform, state }
}
