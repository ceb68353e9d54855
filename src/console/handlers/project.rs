//! `/{namespace}/{project}`: leads to the project's errors.

use crate::{
    console::{context::Context, pages::project_path, problem::Problem, web::answer::SeeOther},
    store::console::{Project, ProjectAddress, Snapshot},
};

/// From the root: the address asked for may end with a slash.
pub async fn errors(context: Context, address: ProjectAddress) -> Result<SeeOther, Problem> {
    let reading = async |snapshot: Snapshot, _project: Project| Ok(snapshot.end().await?);
    context.read(&address, reading).await?;
    Ok(SeeOther { place: format!("{}{}/issues", context.shell.root, project_path(&address)), cookie: None })
}
