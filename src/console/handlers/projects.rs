//! `/`: every project that the caller may read.

use crate::console::{
    context::Context,
    pages::{Hours, ProjectsPage},
    problem::Problem,
    web::answer::Page,
};

pub async fn list(context: Context, (): ()) -> Result<Page<ProjectsPage>, Problem> {
    let mut listing = context.databases.projects(Hours::first(context.now)).await?;
    let addresses = listing.projects.iter().map(|listed| listed.project.address()).collect();
    let permitted = context.rights.permitted(&context.caller, context.right, addresses).await?;
    listing.projects.retain(|listed| permitted.contains(&listed.project.address()));
    Ok(Page(ProjectsPage::new(context.shell, &listing, context.now)))
}
