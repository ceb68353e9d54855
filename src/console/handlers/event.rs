//! `/projects/{project}/events/{event}/json`: the payload of an event as it is stored.

use crate::{
    console::{
        context::Context,
        problem::Problem,
        web::{
            answer::Json,
            request::{FromRequest, Request},
        },
    },
    dsn::ProjectId,
    protocol::event::EventId,
};

pub struct EventRequest {
    project: ProjectId,
    event: EventId,
}

impl FromRequest for EventRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: request.parameter("project")?, event: request.parameter("event")? })
    }
}

pub async fn json(context: Context, request: EventRequest) -> Result<Json, Problem> {
    let mut snapshot = context.database.snapshot().await?;
    let project = context.project(&mut snapshot, request.project).await?;
    let stored = snapshot.event(project.id, request.event).await?.ok_or(Problem::NotFound("event"))?;
    snapshot.end().await?;
    Ok(Json(stored.json()?))
}
