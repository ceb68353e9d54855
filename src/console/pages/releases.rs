//! `/{namespace}/{project}/releases`: the releases of a project, the one seen last first, or one of them.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    format::{Moment, count, counted},
    in_path,
    untrusted::visible,
};
use crate::{
    console::{query, selection::Selection},
    store::console::{Project, Release},
};

/// Releases on one page.
pub const RELEASES_PAGE_SIZE: u32 = 50;

#[derive(Debug, Template)]
#[template(path = "releases.html")]
pub struct ReleasesPage {
    shell: Shell,
    project: ProjectHead,
    /// The release that it is about; `None`: all.
    one: Option<String>,
    /// `The last release brought 3 new errors.`
    verdict: String,
    rows: Vec<ReleaseRow>,
    is_first: bool,
    /// Query of the next page.
    next: Option<String>,
}

#[derive(Debug)]
struct ReleaseRow {
    name: String,
    /// In the address of its page.
    in_path: String,
    /// Queries of the errors that it had, and of those that it brought.
    errors: String,
    brought: String,
    first_seen: Moment,
    new_errors: String,
    /// `None`: no session of it was reported.
    health: Option<Health>,
}

#[derive(Debug)]
struct Health {
    sessions: String,
    /// `99.95 %`
    crash_free: String,
}

impl ReleasesPage {
    /// `releases`: at most [`RELEASES_PAGE_SIZE`], and one more where there is a next page.
    #[must_use]
    pub fn new(shell: Shell, project: &Project, releases: &[Release], is_first: bool, now: Timestamp) -> Self {
        let shown = &releases[..releases.len().min(RELEASES_PAGE_SIZE as usize)];
        let next = shown.last().filter(|_| releases.len() > shown.len()).map(|last| format!("?after={}", last.id));
        let verdict = match shown.first().filter(|_| is_first) {
            Some(last) => format!("The newest release brought {}.", counted(last.new_errors, "new error")),
            None if is_first => "No event has named a release yet.".to_owned(),
            None => "Releases that were seen before.".to_owned(),
        };
        let rows = shown.iter().map(|release| row(release, now)).collect();
        Self { shell, project: ProjectHead::from(project), one: None, verdict, rows, is_first, next }
    }

    #[must_use]
    pub fn of_one(shell: Shell, project: &Project, release: &Release, now: Timestamp) -> Self {
        let verdict = format!("This release brought {}.", counted(release.new_errors, "new error"));
        let (project, one) = (ProjectHead::from(project), Some(visible(&release.name)));
        Self { shell, project, one, verdict, rows: vec![row(release, now)], is_first: true, next: None }
    }
}

fn row(release: &Release, now: Timestamp) -> ReleaseRow {
    let health = (release.sessions > 0).then(|| Health {
        sessions: count(release.sessions),
        crash_free: crash_free(release.sessions, release.crashed),
    });
    let errors = |key: &str| Selection::default().with_query(&query::term(key, &release.name));
    ReleaseRow {
        name: visible(&release.name),
        in_path: in_path(&release.name).to_string(),
        errors: errors("release"),
        brought: errors("firstRelease"),
        first_seen: Moment::new(release.first_seen, now),
        new_errors: count(release.new_errors),
        health,
    }
}

/// In hundredths of a percent, cut: 100 % is said of none that crashed.
fn crash_free(sessions: u64, crashed: u64) -> String {
    let free = u128::from(sessions.saturating_sub(crashed)) * 10_000 / u128::from(sessions.max(1));
    if free == 10_000 { "100 %".to_owned() } else { format!("{}.{:02} %", free / 100, free % 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_better_than_it_is() {
        for (sessions, crashed, expected) in [
            (1, 0, "100 %"),
            (1, 1, "0.00 %"),
            (3, 1, "66.66 %"),
            (1_000_000, 1, "99.99 %"),
            (u64::MAX, 1, "99.99 %"),
            // Counted in two hours.
            (1, 2, "0.00 %"),
        ] {
            assert_eq!(crash_free(sessions, crashed), expected, "{crashed} of {sessions}");
        }
    }
}
