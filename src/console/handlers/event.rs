//! `/{namespace}/{project}/events/{event}/json`: the payload of an event as it is stored.

use crate::{
    console::{
        context::Context,
        problem::Problem,
        web::{
            answer::Json,
            request::{FromRequest, Request},
        },
    },
    protocol::event::EventId,
    store::console::{Project, ProjectAddress, Snapshot},
};

pub struct EventRequest {
    project: ProjectAddress,
    event: EventId,
}

impl FromRequest for EventRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: ProjectAddress::from_request(request)?, event: request.parameter("event")? })
    }
}

pub async fn json(context: Context, request: EventRequest) -> Result<Json, Problem> {
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let stored = snapshot.event(project.id, request.event).await?.ok_or(Problem::NotFound("event"))?;
        snapshot.end().await?;
        Ok(stored)
    };
    let stored = context.read(&request.project, reading).await?;
    Ok(Json(stored.json()?))
}
