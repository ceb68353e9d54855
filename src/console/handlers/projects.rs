//! `/`: every project that the caller may read.

use crate::console::{
    context::Context,
    databases::{Listing, Unreachable},
    pages::{Hours, ProjectsPage},
    problem::Problem,
    web::answer::Page,
};

pub async fn list(context: Context, (): ()) -> Result<Page<ProjectsPage>, Problem> {
    let mut listing = context.databases.projects(Hours::first(context.now)).await?;
    let addresses = listing.projects.iter().map(|listed| listed.project.address()).collect();
    let permitted = context.rights.permitted(&context.caller, context.right, addresses).await?;
    listing.projects.retain(|listed| permitted.contains(&listed.project.address()));
    listing.unreachable = known_of(&context, &listing).await?;
    Ok(Page(ProjectsPage::new(context.shell, &listing, context.now)))
}

/// The servers that the caller may know of: the installation's own, and those of namespaces where they may see a project.
async fn known_of(context: &Context, listing: &Listing) -> Result<Vec<Unreachable>, Problem> {
    let mut known = Vec::new();
    for away in &listing.unreachable {
        let is_known = match &away.namespace {
            None => true,
            Some(namespace) => {
                listing.projects.iter().any(|listed| listed.project.namespace == *namespace)
                    || context.rights.permit_in(&context.caller, context.right, namespace).await?
            }
        };
        if is_known {
            known.push(away.clone());
        }
    }
    Ok(known)
}
