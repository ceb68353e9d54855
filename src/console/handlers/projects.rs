//! `/`: every project that the caller may read.

use crate::console::{
    context::Context,
    pages::{Hours, ProjectsPage},
    problem::Problem,
    web::answer::Page,
};

pub async fn list(context: Context, (): ()) -> Result<Page<ProjectsPage>, Problem> {
    let mut listing = context.databases.projects(Hours::first(context.now)).await?;
    listing.projects.retain(|listed| context.permits(&listed.project));
    Ok(Page(ProjectsPage::new(context.shell, &listing, context.now)))
}
