//! What every handler gets beside the request: who asks, when, where from, and the way to the data, which leads past
//! the policy. Made by `web` once the caller is allowed in; used by `handlers`.

use jiff::Timestamp;

use super::{
    auth::{Caller, Policy, Right},
    database::Database,
    pages::Shell,
    problem::Problem,
};
use crate::{
    dsn::ProjectId,
    store::console::{Project, Snapshot},
};

pub struct Context {
    pub caller: Caller,
    /// What the route needs of the caller in each project that it shows.
    pub right: Right,
    pub policy: Policy,
    pub database: Database,
    pub shell: Shell,
    pub now: Timestamp,
}

impl Context {
    /// Whether the caller has the route's right in this project.
    #[must_use]
    pub fn permits(&self, project: &Project) -> bool {
        (self.policy)(self.caller, self.right, Some(project))
    }

    /// The project of that number. One that the caller may not see is as one that does not exist: the answer must not
    /// tell them apart.
    pub async fn project(&self, snapshot: &mut Snapshot, id: ProjectId) -> Result<Project, Problem> {
        tracing::Span::current().record("project", id.get());
        let project = snapshot.project(id).await?;
        project.filter(|project| self.permits(project)).ok_or(Problem::NotFound("project"))
    }
}
