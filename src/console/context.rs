//! What every handler gets beside the request: who asks, when, where from, and the way to the data, which leads past
//! the policy. Made by `web` once the caller is allowed in; used by `handlers`.

use jiff::Timestamp;

use super::{
    auth::{Caller, Policy, Right},
    databases::{Databases, Found},
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
    pub databases: Databases,
    pub shell: Shell,
    pub now: Timestamp,
}

impl Context {
    /// Whether the caller has the route's right in this project.
    #[must_use]
    pub fn permits(&self, project: &Project) -> bool {
        (self.policy)(self.caller, self.right, Some(project))
    }

    /// What `read` makes of the project of that number, with a view of the database that the project is kept in. A
    /// project that the caller may not see is as one that does not exist: the answer must not tell them apart.
    pub async fn read<T, R>(&self, id: ProjectId, read: impl FnOnce(Snapshot, Project) -> R) -> Result<T, Problem>
    where
        R: Future<Output = Result<T, Problem>>,
    {
        tracing::Span::current().record("project", id.get());
        let found = self.databases.find(id).await?.filter(|found| self.permits(&found.project));
        let Found { database, snapshot, project } = found.ok_or(Problem::NotFound("project"))?;
        database.in_time(read(snapshot, project)).await
    }
}
