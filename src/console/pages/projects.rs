//! `/`: every project that the caller may see.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    chart::{Hours, Sparkline},
    format::{Moment, count, counted},
    verdict::Verdict,
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
    Readable(Box<Numbers>),
    /// Why there are no numbers: a word, and a sentence.
    Not(&'static str, String),
}

#[derive(Debug)]
struct Numbers {
    verdict: Verdict,
    new: String,
    regressed: String,
    unresolved: String,
    events_24h: String,
    spark: Sparkline,
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
        let mut listed: Vec<_> = listing.projects.iter().collect();
        listed.sort_by_key(|listed| urgency(listed, now));
        let projects = listed.into_iter().map(|listed| row(listed, now)).collect();
        Self { shell, total, projects, unreachable }
    }
}

/// What is broken comes first, then what has new errors. Within each, by namespace and name.
fn urgency(listed: &ListedProject, now: Timestamp) -> u8 {
    match &listed.state {
        ProjectState::Unreachable | ProjectState::NoLogin => 0,
        ProjectState::Readable(numbers) => match Verdict::new(&numbers.reception, now) {
            Verdict::Dropping { .. } => 1,
            Verdict::Silent { .. } => 2,
            Verdict::Waiting | Verdict::Receiving { .. } if numbers.new + numbers.regressed > 0 => 3,
            Verdict::Waiting | Verdict::Receiving { .. } => 4,
        },
        ProjectState::BeingSetUp => 4,
    }
}

fn row(listed: &ListedProject, now: Timestamp) -> ProjectRow {
    let head = ProjectHead::from(&listed.project);
    let server = listed.project.server.as_deref().unwrap_or("another server");
    let (state, seen) = match &listed.state {
        ProjectState::Readable(numbers) => {
            let shown = Numbers {
                verdict: Verdict::new(&numbers.reception, now),
                new: count(numbers.new),
                regressed: count(numbers.regressed),
                unresolved: count(numbers.unresolved),
                events_24h: count(numbers.events()),
                spark: Sparkline::from(&Hours::new(now, numbers.hours.iter().copied())),
                last_event: numbers.reception.last_event.map(|at| Moment::new(at, now)),
            };
            (State::Readable(Box::new(shown)), Some(numbers.platforms.join(", ")).filter(|seen| !seen.is_empty()))
        }
        ProjectState::BeingSetUp => (State::Not("Being set up", "Its schema is not there yet".to_owned()), None),
        ProjectState::Unreachable => {
            (State::Not("Database away", format!("kept on {server}, which does not answer")), None)
        }
        ProjectState::NoLogin => {
            (State::Not("Database away", format!("kept on {server}, which this console has no login for")), None)
        }
    };
    // What the object says; else what its errors came from.
    let platform = head.platform.or(seen);
    ProjectRow { title: head.title, address: head.address, namespace: head.namespace, platform, state }
}
