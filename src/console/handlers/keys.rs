//! `/projects/{project}/keys`: the client keys of a project.

use crate::{
    console::{
        context::Context,
        pages::KeysPage,
        problem::Problem,
        web::{
            answer::Page,
            request::{FromRequest, Request},
        },
    },
    dsn::ProjectId,
    store::console::{Project, Snapshot},
};

pub struct KeysRequest {
    project: ProjectId,
}

impl FromRequest for KeysRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: request.parameter("project")? })
    }
}

pub async fn list(context: Context, request: KeysRequest) -> Result<Page<KeysPage>, Problem> {
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let keys = snapshot.client_keys(project.id).await?;
        snapshot.end().await?;
        Ok((project, keys))
    };
    let (project, keys) = context.read(request.project, reading).await?;
    Ok(Page(KeysPage::new(context.shell, &project, &keys, context.now)))
}
