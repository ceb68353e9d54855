//! `/{namespace}/{project}/issues`: the errors of a project by status, in an order.

use std::fmt::Write as _;

use askama::Template;
use jiff::Timestamp;

use super::{
    DoneBar, ProjectHead, Shell,
    chart::{Hours, Sparkline},
    format::{Moment, count, counted},
    short_id,
    triage::{self, Acting, Form},
    untrusted::visible,
};
use crate::store::console::{Issue, IssueCursor, IssueOrder, IssueStatus, Project, StatusCounts, issue_number};

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
    sortings: Vec<Sorting>,
    page: Paging,
    /// `None`: the caller may not change anything.
    form: Option<Form>,
    may_delete: bool,
    done: Option<DoneBar>,
    /// The project has no error at all yet.
    is_empty: bool,
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
    is_first: bool,
    /// `50 of 234 errors`
    summary: String,
    /// Query of the next page.
    next: Option<String>,
}

/// A link that orders the list in another way.
#[derive(Debug)]
struct Sorting {
    query: String,
    label: &'static str,
    current: bool,
}

/// The errors of one page.
pub struct Listed<'r> {
    pub status: IssueStatus,
    pub order: IssueOrder,
    /// Whether nothing comes before it.
    pub is_first: bool,
    pub counts: StatusCounts,
    /// At most [`PAGE_SIZE`], and one more where there is a next page.
    pub issues: &'r [(Issue, Hours)],
}

impl IssuesPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, listed: &Listed<'_>, acting: Acting, now: Timestamp) -> Self {
        let Listed { status, order, is_first, counts, issues } = *listed;
        let shown = &issues[..issues.len().min(PAGE_SIZE as usize)];
        let next = shown.last().filter(|_| issues.len() > shown.len()).map(|(last, _)| order.after(last));
        let (project, name) = (ProjectHead::from(project), project.name.clone());
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
            sortings: sortings(status, order),
            page: Paging::new(status, order, is_first, shown.len(), counts.of(status), next),
            issues: shown.iter().map(|(issue, hours)| row(&name, issue, hours, now)).collect(),
            is_empty: counts == StatusCounts::default(),
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

/// `status` and `sort`, of which the usual ones are left out.
fn query(status: IssueStatus, order: IssueOrder) -> String {
    let mut query = format!("?status={}", status.as_str());
    if order != IssueOrder::default() {
        let _ = write!(query, "&sort={}", order.as_str());
    }
    query
}

fn sortings(status: IssueStatus, order: IssueOrder) -> Vec<Sorting> {
    let label = |order| match order {
        IssueOrder::LastSeen => "Last seen",
        IssueOrder::FirstSeen => "First seen",
        IssueOrder::Events => "Events",
        IssueOrder::Users => "Users",
    };
    let sorting = |to| Sorting { query: query(status, to), label: label(to), current: to == order };
    IssueOrder::ALL.into_iter().map(sorting).collect()
}

impl Paging {
    fn new(
        status: IssueStatus,
        order: IssueOrder,
        is_first: bool,
        shown: usize,
        total: u64,
        next: Option<IssueCursor>,
    ) -> Self {
        let errors = counted(total, "error");
        let summary = match (is_first, shown as u64) {
            (true, shown) if shown == total => errors,
            (true, shown) => format!("The first {} of {errors}", count(shown)),
            (false, shown) => format!("{} more of {errors}", count(shown)),
        };
        let next = next
            .map(|IssueCursor { key, issue }| format!("{}&after={key}.{}", query(status, order), issue_number(issue)));
        Self { is_first, summary, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_know_their_neighbours() {
        let paging = |order, is_first, shown, total, next| {
            let paging = Paging::new(IssueStatus::Unresolved, order, is_first, shown, total, next);
            (paging.summary, paging.next)
        };
        let cursor = Some(IssueCursor { key: 9, issue: 7 << 32 | 3 });
        assert_eq!(
            paging(IssueOrder::LastSeen, true, 50, 120, cursor),
            ("The first 50 of 120 errors".to_owned(), Some("?status=unresolved&after=9.3".to_owned()))
        );
        assert_eq!(
            paging(IssueOrder::Users, false, 50, 120, cursor),
            ("50 more of 120 errors".to_owned(), Some("?status=unresolved&sort=users&after=9.3".to_owned()))
        );
        assert_eq!(paging(IssueOrder::Events, true, 1, 1, None), ("1 error".to_owned(), None));
    }
}
