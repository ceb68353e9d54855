//! `/{namespace}/{project}/keys`: the client keys of a project.

use crate::{
    console::{context::Context, pages::KeysPage, problem::Problem, web::answer::Page},
    store::console::{Project, ProjectAddress, Snapshot},
};

pub async fn list(context: Context, address: ProjectAddress) -> Result<Page<KeysPage>, Problem> {
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let keys = snapshot.client_keys(project.id).await?;
        snapshot.end().await?;
        Ok((project, keys))
    };
    let (project, keys) = context.read(&address, reading).await?;
    Ok(Page(KeysPage::new(context.shell, &project, &keys, context.now)))
}
