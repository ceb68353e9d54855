//! `/projects/{project}/issues/{issue}`: one error with its latest event.

use std::io;

use jiff::Timestamp;
use tracing::warn;

use crate::{
    console::{
        context::Context,
        pages::{EventState, Hours, IssuePage},
        problem::Problem,
        web::{
            answer::Page,
            request::{FromRequest, Request},
        },
    },
    dsn::ProjectId,
    protocol::event::{self, Event, EventError, Receipt},
    store::console::{Project, Snapshot, StoredEvent},
};

pub struct IssueRequest {
    project: ProjectId,
    issue: i64,
}

impl FromRequest for IssueRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: request.parameter("project")?, issue: request.parameter("issue")? })
    }
}

pub async fn show(context: Context, request: IssueRequest) -> Result<Page<IssuePage>, Problem> {
    let since = Hours::first(context.now);
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let issue = snapshot.issue(project.id, request.issue).await?.ok_or(Problem::NotFound("error"))?;
        let hours = snapshot.hours(project.id, &[issue.id], since).await?;
        let latest = snapshot.latest_event(project.id, &issue).await?;
        snapshot.end().await?;
        Ok((project, issue, hours, latest))
    };
    let (project, issue, mut hours, latest) = context.read(request.project, reading).await?;
    let hours = Hours::new(context.now, hours.remove(&issue.id).unwrap_or_default());
    let event = latest.map_or(EventState::Expired, |stored| event_state(&stored, context.now));
    Ok(Page(IssuePage::new(context.shell, &project, &issue, &hours, event, context.now)))
}

/// A payload that cannot be read must not hide the numbers of its issue.
fn event_state(stored: &StoredEvent, now: Timestamp) -> EventState {
    match read(stored) {
        Ok((event, json)) => EventState::shown(stored.event_id, stored.received_at, &event, &json, now),
        Err(error) => {
            warn!(event = %stored.event_id, %error, "Could not read a stored event.");
            EventState::unreadable(stored.event_id)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("its payload cannot be unpacked: {0}")]
    Payload(#[from] io::Error),
    #[error(transparent)]
    Event(#[from] EventError),
}

/// The event, and the JSON it was read from.
fn read(stored: &StoredEvent) -> Result<(Event, Vec<u8>), ReadError> {
    let json = stored.json()?;
    let receipt = Receipt { envelope_id: Some(stored.event_id), ..Receipt::at(stored.received_at, stored.event_id) };
    let event = event::parse(&json, &receipt)?;
    // Only ingest knew how wrong the client's clock was.
    Ok((Event { timestamp: stored.timestamp, ..event }, json))
}
