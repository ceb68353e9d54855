//! `/{namespace}/{project}/setup`: how an application sends to a project, until its first event has come.

use crate::{
    console::{context::Context, pages::SetupPage, problem::Problem, web::answer::Page},
    store::console::{Project, ProjectAddress, Snapshot},
};

pub async fn show(context: Context, address: ProjectAddress) -> Result<Page<SetupPage>, Problem> {
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let newest = snapshot.newest_issue(project.id).await?;
        let reception = snapshot.reception(project.id).await?;
        snapshot.end().await?;
        Ok((project, newest, reception))
    };
    let (project, newest, reception) = context.read(&address, reading).await?;
    Ok(Page(SetupPage::new(context.shell, &project, newest, &reception, context.now)))
}
