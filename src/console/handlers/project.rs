//! `/projects/{project}`: leads to the project's errors.

use crate::{
    console::{
        context::Context,
        problem::Problem,
        web::{
            answer::Redirect,
            request::{FromRequest, Request},
        },
    },
    dsn::ProjectId,
};

pub struct ProjectRequest {
    project: ProjectId,
}

impl FromRequest for ProjectRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: request.parameter("project")? })
    }
}

/// From the root: the address asked for may end with a slash.
pub async fn redirect(context: Context, request: ProjectRequest) -> Result<Redirect, Problem> {
    Ok(Redirect(format!("{}projects/{}/issues", context.shell.root, request.project)))
}
