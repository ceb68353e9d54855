//! `/{namespace}/{project}/issues`: the errors of a project by status, last seen first.

use askama::Template;
use jiff::Timestamp;

use super::{
    DoneBar, ProjectHead, Shell,
    chart::{Hours, Sparkline},
    format::{Moment, count, counted},
    short_id,
    triage::{self, Form},
    untrusted::visible,
};
use crate::store::console::{Issue, IssueStatus, Project, StatusCounts};

/// Errors on one page.
pub const PAGE_SIZE: u32 = 50;

#[derive(Debug, Template)]
#[template(path = "issues.html")]
pub struct IssuesPage {
    shell: Shell,
    project: ProjectHead,
    status: String,
    tabs: Vec<Tab>,
    issues: Vec<IssueRow>,
    page: Paging,
    /// `None`: the caller may not change anything.
    form: Option<Form>,
    may_delete: bool,
    done: Option<DoneBar>,
    /// Only for a project that has no error at all yet.
    setup: Option<Setup>,
}

#[derive(Debug)]
struct Tab {
    status: &'static str,
    label: &'static str,
    count: String,
    current: bool,
}

#[derive(Debug)]
struct IssueRow {
    /// Within its project.
    number: u32,
    short_id: String,
    title: String,
    /// `Resolved in shop@1.2`
    state: Option<String>,
    assignee: Option<String>,
    culprit: String,
    level: &'static str,
    events: String,
    users: String,
    first_seen: Moment,
    last_seen: Moment,
    spark: Sparkline,
}

/// Where in the list a page is.
#[derive(Debug, PartialEq, Eq)]
struct Paging {
    /// From 1.
    number: u32,
    /// `51–100 of 234 errors`
    summary: String,
    previous: Option<u32>,
    next: Option<u32>,
}

/// What the commands of the empty state name.
#[derive(Debug)]
struct Setup {
    name: String,
    namespace: String,
    snippet: Option<&'static str>,
}

/// What the caller may do to the errors, and did just before.
pub struct Acting {
    pub may_act: bool,
    pub may_delete: bool,
    pub done: Option<DoneBar>,
}

/// Whoever leafs on from here wants a search.
pub const MAX_PAGE: u32 = 10_000;

impl IssuesPage {
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a page is made of many things, once")]
    pub fn new(
        shell: Shell,
        project: &Project,
        status: IssueStatus,
        number: u32,
        counts: StatusCounts,
        issues: &[(Issue, Hours)],
        acting: Acting,
        now: Timestamp,
    ) -> Self {
        let (project, name) = (ProjectHead::from(project), project.name.clone());
        let setup = (counts == StatusCounts::default()).then(|| Setup {
            name: project.name.clone(),
            namespace: project.namespace.clone(),
            snippet: project.platform.as_deref().and_then(snippet),
        });
        let tabs = [
            (IssueStatus::Unresolved, "Unresolved"),
            (IssueStatus::Resolved, "Resolved"),
            (IssueStatus::Ignored, "Ignored"),
        ]
        .map(|(tab, label)| Tab {
            status: tab.as_str(),
            label,
            count: count(counts.of(tab)),
            current: tab == status,
        });
        Self {
            form: acting.may_act.then(|| Form::of(&shell)),
            may_delete: acting.may_delete,
            done: acting.done,
            shell,
            project,
            status: status.as_str().to_owned(),
            tabs: tabs.into(),
            page: Paging::new(number, issues.len(), counts.of(status)),
            issues: issues.iter().map(|(issue, hours)| row(&name, issue, hours, now)).collect(),
            setup,
        }
    }
}

fn row(project: &str, issue: &Issue, hours: &Hours, now: Timestamp) -> IssueRow {
    IssueRow {
        number: issue.number(),
        short_id: short_id(project, issue.number()),
        state: triage::state(issue).filter(|state| state.contains(' ')),
        assignee: issue.assignee.as_deref().map(visible),
        title: visible(&issue.title),
        culprit: visible(&issue.culprit),
        level: issue.level.name(),
        events: count(issue.events),
        users: count(issue.users),
        first_seen: Moment::new(issue.first_seen, now),
        last_seen: Moment::new(issue.last_seen, now),
        spark: Sparkline::from(hours),
    }
}

impl Paging {
    fn new(number: u32, shown: usize, total: u64) -> Self {
        let before = u64::from((number - 1) * PAGE_SIZE);
        let after = before + shown as u64;
        let errors = counted(total, "error");
        let summary = if shown == 0 { errors } else { format!("{}–{} of {errors}", count(before + 1), count(after)) };
        Self {
            number,
            summary,
            previous: (number > 1).then(|| number - 1),
            next: (after < total && number < MAX_PAGE).then_some(number + 1),
        }
    }

    fn has_others(&self) -> bool {
        self.previous.is_some() || self.next.is_some()
    }
}

/// The least that starts the SDK of a platform; each reads `SENTRY_DSN` by itself, PHP's not in FPM.
fn snippet(platform: &str) -> Option<&'static str> {
    Some(match platform {
        "go" => "sentry.Init(sentry.ClientOptions{})",
        "java" | "node" => "Sentry.init();",
        "php" => r"\Sentry\init(['dsn' => getenv('SENTRY_DSN')]);",
        "python" => "import sentry_sdk\nsentry_sdk.init()",
        "ruby" => "Sentry.init",
        "rust" => "let _guard = sentry::init(());",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_know_their_neighbours() {
        let paging = |number, shown, total| {
            let paging = Paging::new(number, shown, total);
            (paging.summary, paging.previous, paging.next)
        };
        assert_eq!(paging(1, 50, 120), ("1–50 of 120 errors".to_owned(), None, Some(2)));
        assert_eq!(paging(3, 20, 120), ("101–120 of 120 errors".to_owned(), Some(2), None));
        assert_eq!(paging(1, 1, 1), ("1–1 of 1 error".to_owned(), None, None));
        assert_eq!(paging(9, 0, 120), ("120 errors".to_owned(), Some(8), None));
    }
}
