//! `/{namespace}/{project}/issues/{issue}`: one error with its latest event, and with `/events/{event}` with another;
//! for programs `…/{issue}.json`.

use std::io;

use tracing::warn;
use uuid::Uuid;

use super::{Decisions, help, shown_issue};
use crate::{
    console::{
        auth::Right,
        context::Context,
        pages::{Days, EventBar, EventState, Hours, IssuePage, Reading, Shown, json},
        problem::Problem,
        web::{
            answer::{Json, Page},
            request::{FromRequest, Request, field},
        },
    },
    console_api::{LatestEvent, ShownIssue},
    protocol::event::{self, Event, EventError, EventId, Receipt},
    store::console::{Project, ProjectAddress, Snapshot, StoredEvent, Towards},
};

/// What happened to an error that its page tells.
const MAX_ACTIVITY: u32 = 50;

pub struct IssueRequest {
    project: ProjectAddress,
    /// Within its project, from 1. Addresses of the version before had the id here, which is longer.
    issue: i64,
    /// What was done just before.
    done: Option<Uuid>,
    all_frames: bool,
}

pub struct IssueEventRequest {
    issue: IssueRequest,
    event: EventId,
}

impl FromRequest for IssueEventRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { issue: IssueRequest::from_request(request)?, event: request.parameter("event")? })
    }
}

impl FromRequest for IssueRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let done = field(request.query.as_bytes(), "done").and_then(|batch| batch.parse().ok());
        let all_frames = field(request.query.as_bytes(), "frames").as_deref() == Some("all");
        let project = ProjectAddress::from_request(request)?;
        Ok(Self { project, issue: request.parameter("issue")?, done, all_frames })
    }
}

pub async fn show(context: Context, request: IssueRequest) -> Result<Page<IssuePage>, Problem> {
    page(context, request, None).await
}

pub async fn show_event(context: Context, request: IssueEventRequest) -> Result<Page<IssuePage>, Problem> {
    page(context, request.issue, Some(request.event)).await
}

async fn page(context: Context, request: IssueRequest, event: Option<EventId>) -> Result<Page<IssuePage>, Problem> {
    let since = Days::first(context.now);
    let oldest_first = help::reads_oldest_first(&context.asked.headers);
    let frames = Reading { all_open: request.all_frames, oldest_first };
    let may_read = context.also(Right::ReadEvents, &request.project).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let issue = shown_issue(&mut snapshot, &project, request.issue, "").await?;
        let activity = snapshot.activity(project.id, issue.id, MAX_ACTIVITY).await?;
        let decisions = Decisions::read(&mut snapshot, &project, request.done).await?;
        let hours = snapshot.hours(project.id, &[issue.id], since).await?;
        let stored = match event {
            Some(id) => Some(snapshot.event_of(project.id, &issue, id).await?.ok_or(Problem::NotFound("event"))?),
            None if may_read => snapshot.latest_event(project.id, &issue).await?,
            None => None,
        };
        let mut beside = [None; 2];
        if let Some(stored) = &stored {
            for (beside, towards) in beside.iter_mut().zip([Towards::Older, Towards::Newer]) {
                *beside = snapshot.event_beside(project.id, issue.id, Some(stored.key()), towards).await?;
            }
        }
        snapshot.end().await?;
        Ok((project, issue, hours, stored, beside, activity, decisions))
    };
    let (project, issue, mut hours, stored, beside, activity, decisions) =
        context.read(&request.project, reading).await?;
    let counted = hours.remove(&issue.id).unwrap_or_default();
    let (hours, days) = (Hours::new(context.now, counted.iter().copied()), Days::new(context.now, counted));
    let bar = stored.as_ref().map(|stored| EventBar::new(stored.key(), beside, context.now));
    let shown = if may_read {
        stored.map_or(EventState::Expired, |stored| event_state(&stored, frames))
    } else {
        EventState::NotPermitted
    };
    let acting = decisions.acting(&context, &request.project).await?;
    let facts = Shown {
        project: &project,
        issue: &issue,
        hours: &hours,
        days: &days,
        activity: &activity,
        named: event.is_some(),
        bar,
        acting: &acting,
    };
    Ok(Page(IssuePage::new(context.shell, facts, shown, context.now)))
}

pub async fn show_json(context: Context, request: IssueRequest) -> Result<Json, Problem> {
    let may_read_events = context.also(Right::ReadEvents, &request.project).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let issue = shown_issue(&mut snapshot, &project, request.issue, ".json").await?;
        let activity = snapshot.activity(project.id, issue.id, MAX_ACTIVITY).await?;
        let stored = if may_read_events { snapshot.latest_event(project.id, &issue).await? } else { None };
        snapshot.end().await?;
        Ok((project, issue, stored, activity))
    };
    let (project, issue, stored, activity) = context.read(&request.project, reading).await?;
    let event = match stored {
        _ if !may_read_events => LatestEvent::NotPermitted,
        None => LatestEvent::Expired,
        Some(stored) => match read(&stored) {
            Ok((event, _)) => LatestEvent::Shown(Box::new(json::event(&stored, &event))),
            Err(_) => LatestEvent::Unreadable { id: stored.event_id.to_string() },
        },
    };
    Json::of(&ShownIssue {
        project: json::project(&project),
        issue: json::issue(&project, &issue),
        event,
        activity: activity.iter().map(|row| json::activity(&project, row)).collect(),
    })
}

/// A payload that cannot be read must not hide the numbers of its issue.
fn event_state(stored: &StoredEvent, frames: Reading) -> EventState {
    match read(stored) {
        Ok((event, json)) => EventState::shown(&event, &json, frames),
        Err(error) => {
            warn!(event = %stored.event_id, %error, "Could not read a stored event.");
            EventState::Unreadable
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
