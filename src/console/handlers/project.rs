//! `/{namespace}/{project}`: leads to the project's errors.

use crate::{
    console::{context::Context, problem::Problem, web::answer::SeeOther},
    store::console::{Project, ProjectAddress, Snapshot},
};

/// From the root: the address asked for may end with a slash.
pub async fn errors(context: Context, address: ProjectAddress) -> Result<SeeOther, Problem> {
    let reading = async |snapshot: Snapshot, _project: Project| Ok(snapshot.end().await?);
    context.read(&address, reading).await?;
    let ProjectAddress { namespace, name } = address;
    Ok(SeeOther { place: format!("{}{namespace}/{name}/issues", context.shell.root), cookie: None })
}
