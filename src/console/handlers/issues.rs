//! `/{namespace}/{project}/issues?query=&environment=&period=&sort=&after=`: the errors of a project; for programs
//! `…/issues.json`.

use std::collections::BTreeSet;

use http::StatusCode;
use jiff::Timestamp;
use uuid::Uuid;

use super::Decisions;
use crate::{
    console::{
        auth::Right,
        context::Context,
        pages::{Found, Hours, IssuesPage, Listed, PAGE_SIZE, TABS, json},
        problem::Problem,
        query::{self, KEYS, Mistake, Query, Reader},
        selection::{Everything, Place, Selection},
        trends::{Selected, Trends},
        web::{
            answer::{Json, Page},
            request::{FromRequest, Request},
        },
    },
    console_api::{Counts, IssueList},
    store::{
        StoreError,
        console::{
            Gaps, Issue, IssueCursor, IssueOrder, IssueStatus, List, Listing, MAX_ISSUES, Project, ProjectAddress,
            Search, Snapshot, issue_number,
        },
    },
};

/// Environments to choose from.
const MAX_ENVIRONMENTS: u32 = 100;
/// Environments and releases to narrow a search by.
const CHOICES: u32 = 10;
/// Releases that the chart may mark.
const NEWEST: u32 = 20;
/// Tags that a page names when somebody searches by one that there is not.
const NAMED_TAGS: u32 = 20;
const NOT_PERMITTED: &str = "Tags are parts of events: searching them needs the right to get \
                             errortrackingprojects/events.";
const NOT_COUNTED: &str = "Events are not counted by environment and release yet: the operator has not migrated the \
                           project's database";

pub struct IssuesRequest {
    project: ProjectAddress,
    selection: Selection,
    after: Option<Place>,
    /// What was done just before.
    done: Option<Uuid>,
}

impl FromRequest for IssuesRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let selection = Selection::parse(request.query).map_err(Problem::BadQuery)?;
        let value = |name: &str| form_urlencoded::parse(request.query.as_bytes()).find(|(found, _)| found == name);
        let after = value("after").map(|(_, place)| place.parse()).transpose().map_err(Problem::BadQuery)?;
        let done = value("done").and_then(|(_, batch)| batch.parse().ok());
        Ok(Self { project: ProjectAddress::from_request(request)?, selection, after, done })
    }
}

/// With 400 where the query means nothing: the page then has everything but a list.
pub async fn list(context: Context, request: IssuesRequest) -> Result<(StatusCode, Page<IssuesPage>), Problem> {
    let IssuesRequest { project: address, selection, after, done } = request;
    let now = context.now;
    let query = query::parse(&selection.query, context.reader());
    let scope = Search { terms: selection.scope(now) };
    let (order, narrow) = (selection.order, selection.narrow);
    let may_read_events = may_search(&context, &address, query.as_ref().ok()).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let has_environments = counts_for(&mut snapshot, &project, &scope).await?;
        let query = match query {
            Ok(query) => understood(&mut snapshot, &project, query, has_environments, may_read_events).await?,
            mistaken => mistaken,
        };
        let tabs = TABS.map(|tab| tab.search(now));
        let environments =
            if has_environments { snapshot.environments(project.id, MAX_ENVIRONMENTS).await? } else { Vec::new() };
        let (counts, found) = match query {
            Ok(query) => {
                let wanted = Wanted { scope, tabs: &tabs, order, after, narrow, now, trends: &context.trends };
                let (counts, found) = find(&mut snapshot, &project, query, wanted).await?;
                (counts, Ok(found))
            }
            Err(mistake) => (snapshot.counts(project.id, &scope, &tabs).await?, Err(mistake)),
        };
        let decisions = Decisions::read(&mut snapshot, &project, done).await?;
        let reception = snapshot.reception(project.id).await?;
        let releases = snapshot.newest_releases(project.id, NEWEST).await?;
        snapshot.end().await?;
        let listed = Listed { releases, reception, selection, is_first: after.is_none(), counts, environments, found };
        Ok((project, listed, decisions))
    };
    let (project, listed, decisions) = context.read(&address, reading).await?;
    let acting = decisions.acting(&context, &address).await?;
    let status = if listed.found.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok((status, Page(IssuesPage::new(context.shell, &project, listed, acting, now))))
}

pub async fn list_json(context: Context, request: IssuesRequest) -> Result<Json, Problem> {
    const STATUSES: [IssueStatus; 3] = [IssueStatus::Unresolved, IssueStatus::Resolved, IssueStatus::Ignored];
    let IssuesRequest { project: address, selection, after, .. } = request;
    let query = query::parse(&selection.query, context.reader()).map_err(Problem::BadSearch)?;
    let scope = Search { terms: selection.scope(context.now) };
    let order = selection.order;
    let may_read_events = may_search(&context, &address, Some(&query)).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let has_environments = counts_for(&mut snapshot, &project, &scope).await?;
        let query = understood(&mut snapshot, &project, query, has_environments, may_read_events)
            .await?
            .map_err(Problem::BadSearch)?;
        let each = STATUSES.map(Search::status);
        let after = after.map(|place| cursor(&project, place));
        let (query, limit) = (query.search(), PAGE_SIZE + 1);
        let list = List { scope: &scope, query: &query, each: &each, order, after, limit };
        let listing = snapshot.list(project.id, list).await?;
        snapshot.end().await?;
        Ok((project, listing))
    };
    let (project, Listing { counts, total, issues }) = context.read(&address, reading).await?;
    let counted = |place: usize| counts.get(place).copied().unwrap_or_default();
    let shown = &issues[..issues.len().min(PAGE_SIZE as usize)];
    let next = shown.last().filter(|_| issues.len() > shown.len()).map(|last| order.after(last));
    Json::of(&IssueList {
        project: json::project(&project),
        counts: Counts { unresolved: counted(0), resolved: counted(1), ignored: counted(2) },
        total,
        issues: shown.iter().map(|issue| json::issue(&project, issue)).collect(),
        next: next.map(|IssueCursor { key, issue }| Place { key, number: issue_number(issue) }.to_string()),
    })
}

/// Numbers of everything that a form means by one tick.
pub async fn everything(
    context: &Context,
    address: &ProjectAddress,
    everything: &Everything,
) -> Result<BTreeSet<u32>, Problem> {
    // What is changed tells what was found.
    if !context.also(Right::ReadIssues, address).await? {
        return Err(Problem::NoProject(address.clone(), Right::ReadIssues));
    }
    let reader = Reader { now: everything.at, ..context.reader() };
    let query = query::parse(&everything.selection.query, reader).map_err(Problem::BadSearch)?;
    let scope = Search { terms: everything.scope() };
    let may_read_events = may_search(context, address, Some(&query)).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let has_environments = counts_for(&mut snapshot, &project, &scope).await?;
        let query = understood(&mut snapshot, &project, query, has_environments, may_read_events).await?;
        let query = query.map_err(Problem::BadSearch)?.search();
        let (order, limit) = (IssueOrder::default(), MAX_ISSUES + 1);
        let list = List { scope: &scope, query: &query, each: &[], order, after: None, limit };
        let Listing { issues, .. } = snapshot.list(project.id, list).await?;
        snapshot.end().await?;
        Ok(issues.iter().map(Issue::number).collect())
    };
    context.read(address, reading).await
}

fn cursor(project: &Project, place: Place) -> IssueCursor {
    IssueCursor { key: place.key, issue: project.issue_id(place.number) }
}

/// Whether the caller may search by what events alone say; asked only for a query that does.
async fn may_search(context: &Context, project: &ProjectAddress, query: Option<&Query>) -> Result<bool, Problem> {
    match query {
        Some(query) if query.tags().next().is_some() => context.also(Right::ReadEvents, project).await,
        _ => Ok(true),
    }
}

/// Whether events are counted by environment and release yet. Refused: they are not, and the scope needs it.
async fn counts_for(snapshot: &mut Snapshot, project: &Project, scope: &Search) -> Result<bool, Problem> {
    let has_environments = snapshot.has_environments(project.id).await?;
    if !has_environments && scope.is_about_events() {
        return Err(Problem::BadQuery(NOT_COUNTED));
    }
    Ok(has_environments)
}

/// The query, if the project has what it names.
async fn understood(
    snapshot: &mut Snapshot,
    project: &Project,
    query: Query,
    has_environments: bool,
    may_read_events: bool,
) -> Result<Result<Query, Mistake>, StoreError> {
    // A guess that finds something is a value that was read.
    if let Some((_, part)) = query.tags().next().filter(|_| !may_read_events) {
        return Ok(Err(Mistake::new(part.column, NOT_PERMITTED)));
    }
    if let Some(part) = query.parts.iter().find(|part| part.term.is_about_events() && !has_environments) {
        return Ok(Err(Mistake::new(part.column, format!("{NOT_COUNTED}."))));
    }
    let keys: Vec<&str> = query.tags().map(|(key, _)| key).collect();
    if keys.is_empty() {
        return Ok(Ok(query));
    }
    let unknown = snapshot.unknown_tags(project.id, &keys).await?;
    let Some((key, part)) = query.tags().find(|(key, _)| unknown.iter().any(|unknown| unknown == key)) else {
        return Ok(Ok(query));
    };
    let tags = match snapshot.tag_keys(project.id, NAMED_TAGS).await? {
        tags if tags.is_empty() => "no event had a tag yet".to_owned(),
        tags => format!("tags are {}", tags.join(", ")),
    };
    let sentence = format!(
        "No event has the tag {key}. There are {KEYS}; {tags}. Text with a colon goes in quotes: \"KeyError: 'plum'\"."
    );
    let column = part.column + usize::from(part.term.is_negated);
    Ok(Err(Mistake::new(column, sentence)))
}

/// What a list is about beside its query.
struct Wanted<'w> {
    scope: Search,
    tabs: &'w [Search],
    order: IssueOrder,
    after: Option<Place>,
    narrow: bool,
    now: Timestamp,
    trends: &'w Trends,
}

/// How many errors each tab has, and what the query finds.
async fn find(
    snapshot: &mut Snapshot,
    project: &Project,
    query: Query,
    wanted: Wanted<'_>,
) -> Result<(Vec<u64>, Found), StoreError> {
    let Wanted { scope, tabs, order, after, narrow, now, trends } = wanted;
    let after = after.map(|place| cursor(project, place));
    let of_query = query.search();
    // One more says whether there is another page.
    let list = List { scope: &scope, query: &of_query, each: tabs, order, after, limit: PAGE_SIZE + 1 };
    let Listing { issues, total, counts } = snapshot.list(project.id, list).await?;
    let search = of_query.and(scope.terms);
    let ids: Vec<_> = issues.iter().take(PAGE_SIZE as usize).map(|issue| issue.id).collect();
    let mut hours = snapshot.listed_hours(project.id, &search, &ids, Hours::first(now)).await?;
    let trend = if after.is_some() || total == 0 {
        None
    } else if total == ids.len() as u64 {
        // The page has them all.
        Some(Hours::new(now, hours.values().flatten().copied()))
    } else {
        let selected = Selected { project: project.address(), search: search.clone(), total };
        let trend = if let Some(trend) = trends.get(&selected) {
            trend
        } else {
            let trend = snapshot.trend(project.id, &search, Hours::first(now)).await?;
            trends.insert(selected, trend.clone());
            trend
        };
        Some(Hours::new(now, trend))
    };
    let issues = issues.into_iter().map(|issue| {
        let counted = hours.remove(&issue.id).unwrap_or_default();
        (issue, Hours::new(now, counted))
    });
    let issues: Vec<_> = issues.collect();
    let choices = if narrow && snapshot.has_environments(project.id).await? {
        Some(snapshot.choices(project.id, &search, CHOICES).await?)
    } else {
        None
    };
    let gaps = if search.is_about_events() { snapshot.gaps(project.id).await? } else { Gaps::default() };
    let futile = if total == 0 { snapshot.futile(project.id, &search).await? } else { Vec::new() };
    Ok((counts, Found { query, total, issues, trend, choices, gaps, futile }))
}
