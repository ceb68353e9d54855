//! One function a page: asks the store within one snapshot and fills the page in.

use jiff::Timestamp;
use tracing::warn;

use super::{
    chart::Hours,
    database::Database,
    pages::{EventState, IssuePage, IssuesPage, IssuesQuery, PAGE_SIZE, Problem, ProjectsPage, Shell, render},
    routes::Answer,
};
use crate::{
    dsn::ProjectId,
    protocol::event::{self, Event, EventId, Receipt},
    store::console::{Issue, Project, Snapshot, StoredEvent},
};

pub async fn projects(database: &Database, shell: Shell, now: Timestamp) -> Result<Answer, Problem> {
    let mut snapshot = database.snapshot().await?;
    let projects = snapshot.projects(Hours::first(now)).await?;
    snapshot.end().await?;
    Ok(Answer::Page(render(&ProjectsPage::new(shell, &projects, now))?))
}

pub async fn issues(
    database: &Database,
    shell: Shell,
    project: ProjectId,
    query: &str,
    now: Timestamp,
) -> Result<Answer, Problem> {
    let query = IssuesQuery::parse(query).map_err(Problem::BadQuery)?;
    let mut snapshot = database.snapshot().await?;
    let project = find_project(&mut snapshot, project).await?;
    let counts = snapshot.status_counts(project.id).await?;
    let issues = snapshot.issues(project.id, query.status, PAGE_SIZE, query.offset()).await?;
    let ids: Vec<_> = issues.iter().map(|issue| issue.id).collect();
    let mut hours = snapshot.hours(project.id, &ids, Hours::first(now)).await?;
    snapshot.end().await?;
    let issues: Vec<(Issue, Hours)> = issues
        .into_iter()
        .map(|issue| {
            let counted = hours.remove(&issue.id).unwrap_or_default();
            (issue, Hours::new(now, counted))
        })
        .collect();
    Ok(Answer::Page(render(&IssuesPage::new(shell, &project, query, counts, &issues, now))?))
}

pub async fn issue(
    database: &Database,
    shell: Shell,
    project: ProjectId,
    issue: i64,
    now: Timestamp,
) -> Result<Answer, Problem> {
    let mut snapshot = database.snapshot().await?;
    let project = find_project(&mut snapshot, project).await?;
    let issue = snapshot.issue(project.id, issue).await?.ok_or(Problem::NotFound("error"))?;
    let mut hours = snapshot.hours(project.id, &[issue.id], Hours::first(now)).await?;
    let latest = snapshot.latest_event(project.id, &issue).await?;
    snapshot.end().await?;
    let hours = Hours::new(now, hours.remove(&issue.id).unwrap_or_default());
    let state = latest.map_or(EventState::Expired, |stored| read(&project, &stored, now));
    Ok(Answer::Page(render(&IssuePage::new(shell, &project, &issue, &hours, state, now))?))
}

/// An event as it was sent.
pub async fn event_json(database: &Database, project: ProjectId, event: EventId) -> Result<Answer, Problem> {
    let mut snapshot = database.snapshot().await?;
    let project = find_project(&mut snapshot, project).await?;
    let stored = snapshot.event(project.id, event).await?.ok_or(Problem::NotFound("event"))?;
    snapshot.end().await?;
    Ok(Answer::Json(stored.json()?))
}

async fn find_project(snapshot: &mut Snapshot, id: ProjectId) -> Result<Project, Problem> {
    snapshot.project(id).await?.ok_or(Problem::NotFound("project"))
}

/// A payload that cannot be read must not hide the numbers of its issue.
fn read(project: &Project, stored: &StoredEvent, now: Timestamp) -> EventState {
    let read = || {
        let json = stored.json().map_err(|error| error.to_string())?;
        let receipt =
            Receipt { envelope_id: Some(stored.event_id), ..Receipt::at(stored.received_at, stored.event_id) };
        let event = event::parse(&json, &receipt).map_err(|error| error.to_string())?;
        // Only ingest knew how wrong the client's clock was.
        let event = Event { timestamp: stored.timestamp, ..event };
        Ok::<_, String>(EventState::shown(stored.event_id, stored.received_at, &event, &json, now))
    };
    read().unwrap_or_else(|error| {
        warn!(project = %project.id, event = %stored.event_id, error, "Could not read a stored event.");
        EventState::unreadable(stored.event_id)
    })
}
