//! `/{namespace}/{project}/issues?query=&environment=&period=&sort=&after=`: the errors of a project; for programs
//! `…/issues.json`.

use http::StatusCode;
use jiff::Timestamp;
use uuid::Uuid;

use super::Decisions;
use crate::{
    console::{
        auth::{Caller, Right},
        context::Context,
        pages::{Found, Hours, IssuesPage, Listed, PAGE_SIZE, TABS, json},
        problem::Problem,
        query::{self, KEYS, Mistake, Query, Reader},
        selection::{Place, Selection},
        web::{
            answer::{Json, Page},
            request::{FromRequest, Request},
        },
    },
    console_api::{Counts, IssueList},
    store::{
        StoreError,
        console::{
            Criterion, Gaps, IssueCursor, IssueOrder, IssueState, IssueStatus, Project, ProjectAddress, Search,
            Snapshot, Term, issue_number,
        },
    },
};

/// Environments to choose from.
const MAX_ENVIRONMENTS: u32 = 100;
/// Environments and releases to narrow a search by.
const CHOICES: u32 = 10;
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
    let query = query::parse(&selection.query, reader(&context));
    let (scope, order, narrow) = (selection.scope(now), selection.order, selection.narrow);
    let may_read_events = may_search(&context, &address, query.as_ref().ok()).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let has_environments = counts_for(&mut snapshot, &project, &scope).await?;
        let query = match query {
            Ok(query) => understood(&mut snapshot, &project, query, has_environments, may_read_events).await?,
            mistaken => mistaken,
        };
        let searched = query.as_ref().map(Query::search).unwrap_or_default();
        let each: Vec<_> = TABS.map(|tab| tab.search(now)).into_iter().chain([searched]).collect();
        let counts = snapshot.counts(project.id, &Search { terms: scope.clone() }, &each).await?;
        let counted = counts.last().copied().unwrap_or_default();
        let environments =
            if has_environments { snapshot.environments(project.id, MAX_ENVIRONMENTS).await? } else { Vec::new() };
        let found = match query {
            Ok(query) => {
                Ok(find(&mut snapshot, &project, query, Wanted { scope, order, after, narrow, counted, now }).await?)
            }
            Err(mistake) => Err(mistake),
        };
        let decisions = Decisions::read(&mut snapshot, &project, done).await?;
        snapshot.end().await?;
        let listed = Listed { selection, is_first: after.is_none(), counts, environments, found };
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
    let query = query::parse(&selection.query, reader(&context)).map_err(Problem::BadSearch)?;
    let (scope, order) = (selection.scope(context.now), selection.order);
    let may_read_events = may_search(&context, &address, Some(&query)).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let has_environments = counts_for(&mut snapshot, &project, &scope).await?;
        let query = understood(&mut snapshot, &project, query, has_environments, may_read_events)
            .await?
            .map_err(Problem::BadSearch)?;
        let each =
            STATUSES.map(|status| Search { terms: vec![Term::new(Criterion::Is(vec![IssueState::Status(status)]))] });
        let counts = snapshot.counts(project.id, &Search { terms: scope.clone() }, &each).await?;
        let after = after.map(|place| cursor(&project, place));
        let issues = snapshot.issues(project.id, &query.search().and(scope), order, after, PAGE_SIZE + 1).await?;
        snapshot.end().await?;
        Ok((project, counts, issues))
    };
    let (project, counts, issues) = context.read(&address, reading).await?;
    let counted = |place: usize| counts.get(place).copied().unwrap_or_default();
    let shown = &issues[..issues.len().min(PAGE_SIZE as usize)];
    let next = shown.last().filter(|_| issues.len() > shown.len()).map(|last| order.after(last));
    Json::of(&IssueList {
        project: json::project(&project),
        counts: Counts { unresolved: counted(0), resolved: counted(1), ignored: counted(2) },
        issues: shown.iter().map(|issue| json::issue(&project, issue)).collect(),
        next: next.map(|IssueCursor { key, issue }| Place { key, number: issue_number(issue) }.to_string()),
    })
}

fn reader(context: &Context) -> Reader<'_> {
    let me = match &context.caller {
        Caller::User(user) => Some(user.name.as_str()),
        Caller::Nobody | Caller::Everybody => None,
    };
    Reader { me, now: context.now }
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
async fn counts_for(snapshot: &mut Snapshot, project: &Project, scope: &[Term]) -> Result<bool, Problem> {
    let has_environments = snapshot.has_environments(project.id).await?;
    if !has_environments && scope.iter().any(Term::is_about_events) {
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
struct Wanted {
    scope: Vec<Term>,
    order: IssueOrder,
    after: Option<Place>,
    narrow: bool,
    /// Errors of the query without its terms about events.
    counted: u64,
    now: Timestamp,
}

async fn find(snapshot: &mut Snapshot, project: &Project, query: Query, wanted: Wanted) -> Result<Found, StoreError> {
    let Wanted { scope, order, after, narrow, counted, now } = wanted;
    let of_query = query.search();
    let is_counted = !of_query.is_about_events();
    let search = of_query.and(scope);
    let after = after.map(|place| cursor(project, place));
    let total = if is_counted { counted } else { snapshot.count(project.id, &search).await? };
    // One more says whether there is another page.
    let issues = snapshot.issues(project.id, &search, order, after, PAGE_SIZE + 1).await?;
    let ids: Vec<_> = issues.iter().take(PAGE_SIZE as usize).map(|issue| issue.id).collect();
    let mut hours = snapshot.listed_hours(project.id, &search, &ids, Hours::first(now)).await?;
    let issues = issues.into_iter().map(|issue| {
        let counted = hours.remove(&issue.id).unwrap_or_default();
        (issue, Hours::new(now, counted))
    });
    let issues: Vec<_> = issues.collect();
    let trend = match after {
        None if total > 0 => Some(Hours::new(now, snapshot.trend(project.id, &search, Hours::first(now)).await?)),
        _ => None,
    };
    let choices = if narrow && snapshot.has_environments(project.id).await? {
        Some(snapshot.choices(project.id, &search, CHOICES).await?)
    } else {
        None
    };
    let gaps = if search.is_about_events() { snapshot.gaps(project.id).await? } else { Gaps::default() };
    let futile = if total == 0 { snapshot.futile(project.id, &search).await? } else { Vec::new() };
    Ok(Found { query, total, issues, trend, choices, gaps, futile })
}
