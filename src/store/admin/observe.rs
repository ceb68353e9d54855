//! One query that says everything about a project.

use super::{Admin, ProjectState};
use crate::{dsn::ProjectId, store::StoreError};

impl Admin {
    /// `None`: the database knows no such project.
    pub async fn observe_project(&self, project: ProjectId) -> Result<Option<ProjectState>, StoreError> {
        todo!()
    }

    /// By the uid of the `ErrorTrackingProject`; deleted projects are not found.
    pub async fn observe_object(&self, object_uid: &str) -> Result<Option<ProjectState>, StoreError> {
        todo!()
    }
}
