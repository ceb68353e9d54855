//! `/{namespace}/{project}/issues`: the errors of a project that a query finds, in an order.

use askama::Template;
use jiff::Timestamp;

use super::{
    DoneBar, ProjectHead, Shell,
    chart::{Hours, Sparkline},
    format::{Moment, count, counted},
    search::{Marked, Narrow, SearchForm, narrow, notes},
    short_id,
    triage::{self, Acting, Form},
    untrusted::visible,
    verdict::Verdict,
};
use crate::{
    console::{
        query::{self, Mistake, Query},
        selection::{Everything, Period, Place, Selection, USUAL_QUERY},
    },
    store::console::{
        Choices, Criterion, Gaps, Issue, IssueCursor, IssueState, IssueStatus, MAX_ISSUES, Project, Reception, Search,
        Term, issue_number,
    },
};

/// Errors on one page.
pub const PAGE_SIZE: u32 = 50;
/// Releases that the trend marks.
const MARKED: usize = 5;

#[derive(Debug, Template)]
#[template(path = "issues.html")]
#[expect(clippy::struct_excessive_bools, reason = "each shows or hides one part of the page")]
pub struct IssuesPage {
    shell: Shell,
    project: ProjectHead,
    verdict: Verdict,
    /// `unresolved errors`, for the title.
    what: String,
    tabs: Vec<TabLink>,
    search: SearchForm,
    /// What the numbers are about, where that is not all events.
    notes: Vec<String>,
    trend: Option<Sparkline>,
    /// What the trend marks.
    new_releases: Vec<NewRelease>,
    /// Links that narrow the search.
    narrow: Vec<Narrow>,
    /// Address of the page with those, where it has none.
    to_narrow: Option<String>,
    issues: Vec<IssueRow>,
    page: Paging,
    /// `None`: the caller may not change anything.
    form: Option<Form>,
    /// What can be done to the errors by their status.
    may_resolve: bool,
    may_reopen: bool,
    may_delete: bool,
    /// What one tick means: all that the search finds, with how many that is. `None`: the page shows them all.
    all: Option<(Everything, String)>,
    done: Option<DoneBar>,
    /// Why the list is empty, if it is.
    nothing: Option<Nothing>,
    /// The project has no error at all yet.
    is_empty: bool,
}

/// A query that has a place of its own above the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Unresolved,
    New,
    Regressed,
    Ignored,
    Resolved,
}

pub const TABS: [Tab; 5] = [Tab::Unresolved, Tab::New, Tab::Regressed, Tab::Ignored, Tab::Resolved];

impl Tab {
    fn label(self) -> &'static str {
        match self {
            Self::Unresolved => "Unresolved",
            Self::New => "New",
            Self::Regressed => "Regressed",
            Self::Ignored => "Ignored",
            Self::Resolved => "Resolved",
        }
    }

    fn query(self) -> &'static str {
        match self {
            Self::Unresolved => USUAL_QUERY,
            Self::New => "is:unresolved is:new",
            Self::Regressed => "is:regressed",
            Self::Ignored => "is:ignored",
            Self::Resolved => "is:resolved",
        }
    }

    /// Its query, typed.
    #[must_use]
    pub fn search(self, now: Timestamp) -> Search {
        let since = query::earlier(now, query::NEW);
        let states = match self {
            Self::Unresolved => vec![IssueState::Status(IssueStatus::Unresolved)],
            Self::New => vec![IssueState::Status(IssueStatus::Unresolved), IssueState::New { since }],
            Self::Regressed => vec![IssueState::Regressed],
            Self::Ignored => vec![IssueState::Status(IssueStatus::Ignored)],
            Self::Resolved => vec![IssueState::Status(IssueStatus::Resolved)],
        };
        Search { terms: states.into_iter().map(|state| Term::new(Criterion::Is(vec![state]))).collect() }
    }

    fn when_empty(self) -> &'static str {
        match self {
            Self::Unresolved => "Nothing needs your attention.",
            Self::New => "None of the unresolved errors was first seen in the last 24 hours.",
            Self::Regressed => "No error came back after it was resolved.",
            Self::Ignored => "What gets ignored moves here.",
            Self::Resolved => "What gets resolved moves here.",
        }
    }
}

#[derive(Debug)]
struct TabLink {
    address: String,
    label: &'static str,
    count: String,
    current: bool,
}

#[derive(Debug)]
struct Nothing {
    heading: String,
    text: String,
    /// Terms that find nothing even alone.
    futile: Vec<String>,
    /// Where there may be something, and the address.
    instead: (&'static str, String),
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
#[derive(Debug, Default, PartialEq, Eq)]
struct Paging {
    is_first: bool,
    /// `50 of 234 errors`
    summary: String,
    /// Address of the first page.
    first: String,
    /// Address of the next page.
    next: Option<String>,
}

/// What was read for one page.
pub struct Listed {
    pub selection: Selection,
    /// Whether nothing comes before it.
    pub is_first: bool,
    /// The newest ones, and when each was first seen.
    pub releases: Vec<(String, Timestamp)>,
    pub reception: Reception,
    /// Errors in each of [`TABS`].
    pub counts: Vec<u64>,
    /// Environments to choose from.
    pub environments: Vec<String>,
    pub found: Result<Found, Mistake>,
}

/// What a query found.
#[derive(Default)]
pub struct Found {
    pub query: Query,
    pub total: u64,
    /// At most [`PAGE_SIZE`], and one more where there is a next page.
    pub issues: Vec<(Issue, Hours)>,
    /// Of all that it found, on the first page.
    pub trend: Option<Hours>,
    /// What to narrow it by, if that was asked for.
    pub choices: Option<Choices>,
    pub gaps: Gaps,
    /// Where nothing was found: of each term of the query, and then of the selection beside it, whether it finds nothing
    /// even alone.
    pub futile: Vec<bool>,
}

impl IssuesPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, listed: Listed, acting: Acting, now: Timestamp) -> Self {
        let Listed { releases, reception, selection, is_first, counts, environments, found } = listed;
        let is_scoped = selection.environment.is_some() || selection.period != Period::All;
        let is_empty = counts.iter().all(|errors| *errors == 0) && !is_scoped && found.is_ok();
        let mistake = found.as_ref().err().map(|mistake| Marked::new(&selection.query, mistake));
        let found = found.unwrap_or_default();
        let search = found.query.search();
        let tab = TABS.into_iter().find(|tab| mistake.is_none() && tab.search(now) == search);
        let shown = &found.issues[..found.issues.len().min(PAGE_SIZE as usize)];
        let next = shown.last().filter(|_| found.issues.len() > shown.len());
        let next = next.map(|(last, _)| selection.order.after(last));
        let statuses = statuses(&search);
        let marked = found.trend.as_ref().map(|_| releases.iter()).into_iter().flatten();
        let marked: Vec<_> = marked.filter(|(_, at)| *at >= Hours::first(now)).take(MARKED).collect();
        let nothing = (shown.is_empty() && mistake.is_none()).then(|| Nothing::new(&selection, is_first, tab, &found));
        let is_more = found.total > shown.len() as u64 && found.total <= MAX_ISSUES.into();
        let all = is_more.then(|| (Everything { selection: selection.clone(), at: now }, count(found.total)));
        Self {
            all,
            verdict: Verdict::new(&reception, now),
            form: acting.may_act.then(|| Form::of(&shell)),
            may_resolve: statuses.contains(&IssueStatus::Unresolved),
            may_reopen: statuses.iter().any(|status| *status != IssueStatus::Unresolved),
            may_delete: acting.may_delete,
            done: acting.done,
            what: tab.map_or_else(|| "errors".to_owned(), |tab| format!("{} errors", tab.label().to_lowercase())),
            tabs: tab_links(&selection, tab, &counts),
            notes: notes(&search.clone().and(selection.scope(now)), found.gaps),
            trend: found.trend.as_ref().map(|hours| Sparkline::marked(hours, marked.iter().map(|(_, at)| *at))),
            new_releases: marked.iter().map(|(name, at)| NewRelease::new(&selection, name, *at)).collect(),
            narrow: found.choices.as_ref().map(|choices| narrow(&selection, &search, choices)).unwrap_or_default(),
            to_narrow: (found.choices.is_none() && found.total > 1 && !environments.is_empty())
                .then(|| Selection { narrow: true, ..selection.clone() }.address(None)),
            page: Paging::new(&selection, is_first, shown.len(), found.total, next),
            issues: shown.iter().map(|(issue, hours)| row(&project.name, issue, hours, now)).collect(),
            search: SearchForm::new(&selection, environments, mistake),
            project: ProjectHead::from(project),
            shell,
            nothing,
            is_empty,
        }
    }
}

/// A release that the trend marks, with the errors of the search that it had.
#[derive(Debug)]
struct NewRelease {
    name: String,
    /// `14:03`
    time: String,
    address: String,
}

impl NewRelease {
    fn new(selection: &Selection, name: &str, at: Timestamp) -> Self {
        let time = at.strftime("%H:%M").to_string();
        Self { name: visible(name), time, address: selection.with_term("release", name) }
    }
}

fn tab_links(selection: &Selection, current: Option<Tab>, counts: &[u64]) -> Vec<TabLink> {
    let link = |(tab, number): (Tab, &u64)| TabLink {
        address: selection.with_query(tab.query()),
        label: tab.label(),
        count: count(*number),
        current: current == Some(tab),
    };
    TABS.into_iter().zip(counts).map(link).collect()
}

/// Statuses that the errors of a search may have, as far as that is plain.
fn statuses(search: &Search) -> Vec<IssueStatus> {
    let mut statuses = vec![IssueStatus::Unresolved, IssueStatus::Resolved, IssueStatus::Ignored];
    for term in search.terms.iter().filter(|term| !term.is_negated) {
        let Criterion::Is(states) = &term.criterion else { continue };
        let of_state = |state: &IssueState| match state {
            IssueState::Status(named) => Some(*named),
            IssueState::Regressed => Some(IssueStatus::Unresolved),
            IssueState::New { .. } | IssueState::Assigned | IssueState::Unassigned => None,
        };
        if let Some(named) = states.iter().map(of_state).collect::<Option<Vec<_>>>() {
            statuses.retain(|status| named.contains(status));
        }
    }
    statuses
}

impl Nothing {
    fn new(selection: &Selection, is_first: bool, tab: Option<Tab>, found: &Found) -> Self {
        if !is_first {
            return Self {
                heading: "Nothing comes after".to_owned(),
                text: String::new(),
                futile: Vec::new(),
                instead: ("Back to the first page", selection.address(None)),
            };
        }
        let everything = Selection { query: selection.query.clone(), order: selection.order, ..Selection::default() };
        if let Some(tab) = tab.filter(|_| everything == *selection) {
            return Self {
                heading: format!("No {} errors", tab.label().to_lowercase()),
                text: tab.when_empty().to_owned(),
                futile: Vec::new(),
                instead: ("All errors, whatever their status", selection.with_query("")),
            };
        }
        let terms = found.query.parts.iter().map(|part| part.text.clone());
        let environment = selection.environment.iter().map(|name| query::term("environment", name));
        let period = (selection.period != Period::All).then(|| format!("lastSeen:-{}", selection.period.as_str()));
        let terms = terms.chain(environment).chain(period);
        let futile: Vec<_> =
            terms.zip(&found.futile).filter(|(_, is_futile)| **is_futile).map(|(term, _)| visible(&term)).collect();
        let text = match futile.len() {
            0 => "Each part of the search finds errors, but no error has them all.",
            1 => "This part of the search finds nothing even alone:",
            _ => "These parts of the search find nothing even alone:",
        };
        let instead = if everything == *selection {
            ("All errors", selection.with_query(""))
        } else {
            ("The same in all environments, at any time", everything.address(None))
        };
        Self { heading: "No error matches".to_owned(), text: text.to_owned(), futile, instead }
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
    fn new(selection: &Selection, is_first: bool, shown: usize, total: u64, next: Option<IssueCursor>) -> Self {
        let errors = counted(total, "error");
        let summary = match (is_first, shown as u64) {
            (true, shown) if shown == total => errors,
            (true, shown) => format!("The first {} of {errors}", count(shown)),
            (false, shown) => format!("{} more of {errors}", count(shown)),
        };
        let next =
            next.map(|IssueCursor { key, issue }| selection.address(Some(Place { key, number: issue_number(issue) })));
        Self { is_first, summary, first: selection.address(None), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::console::IssueOrder;

    #[test]
    fn pages_know_their_neighbours() {
        let paging = |query: &str, order, is_first, shown, total, next| {
            let selection = Selection { query: query.to_owned(), order, ..Selection::default() };
            let paging = Paging::new(&selection, is_first, shown, total, next);
            (paging.summary, paging.next)
        };
        let cursor = Some(IssueCursor { key: 9, issue: 7 << 32 | 3 });
        assert_eq!(
            paging(USUAL_QUERY, IssueOrder::LastSeen, true, 50, 120, cursor),
            ("The first 50 of 120 errors".to_owned(), Some("?after=9.3".to_owned()))
        );
        assert_eq!(
            paging("a", IssueOrder::Users, false, 50, 120, cursor),
            ("50 more of 120 errors".to_owned(), Some("?query=a&sort=users&after=9.3".to_owned()))
        );
        assert_eq!(paging("", IssueOrder::Events, true, 1, 1, None), ("1 error".to_owned(), None));
    }

    #[test]
    fn tabs_are_queries() {
        let reader = query::Reader { me: None, now: "2026-11-22T14:20:00Z".parse().unwrap() };
        for tab in TABS {
            assert_eq!(query::parse(tab.query(), reader).unwrap().search(), tab.search(reader.now), "{tab:?}");
        }
    }

    #[test]
    fn buttons_fit_the_statuses_that_a_search_can_find() {
        let (unresolved, resolved, ignored) = (IssueStatus::Unresolved, IssueStatus::Resolved, IssueStatus::Ignored);
        let reader = query::Reader { me: None, now: "2026-11-22T14:20:00Z".parse().unwrap() };
        for (text, expected) in [
            ("", vec![unresolved, resolved, ignored]),
            ("is:unresolved level:error", vec![unresolved]),
            ("is:regressed", vec![unresolved]),
            ("is:[resolved, ignored]", vec![resolved, ignored]),
            ("is:[resolved, new]", vec![unresolved, resolved, ignored]),
            ("!is:unresolved", vec![unresolved, resolved, ignored]),
        ] {
            assert_eq!(statuses(&query::parse(text, reader).unwrap().search()), expected, "{text}");
        }
    }
}
