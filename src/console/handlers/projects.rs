//! `/`: every project that the caller may read.

use crate::console::{
    context::Context,
    pages::{Hours, ProjectsPage},
    problem::Problem,
    web::answer::Page,
};

pub async fn list(context: Context, (): ()) -> Result<Page<ProjectsPage>, Problem> {
    let mut snapshot = context.database.snapshot().await?;
    let mut projects = snapshot.projects(Hours::first(context.now)).await?;
    snapshot.end().await?;
    projects.retain(|summary| context.permits(&summary.project));
    Ok(Page(ProjectsPage::new(context.shell, &projects, context.now)))
}
