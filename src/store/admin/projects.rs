//! Projects come into being: a row with an id, a schema, its migrations.

use super::{Admin, DeletionPolicy, ProjectIdentity};
use crate::{dsn::ProjectId, store::StoreError};

impl Admin {
    /// The id of the object's project; idempotent. A project that was left by a lost object of the same
    /// namespace (by uid) and name is taken over with its id. New ids are above `floor`, the largest id
    /// that any status names, and above every id this database ever gave out.
    pub async fn allocate_project(
        &self,
        identity: &ProjectIdentity,
        floor: Option<ProjectId>,
        deletion_policy: DeletionPolicy,
    ) -> Result<ProjectId, StoreError> {
        todo!()
    }

    /// Puts the row of a project back whose id is known from a status, after a restore of an older backup.
    pub async fn restore_project(
        &self,
        project: ProjectId,
        identity: &ProjectIdentity,
        deletion_policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        todo!()
    }

    pub async fn set_deletion_policy(
        &self,
        project: ProjectId,
        deletion_policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Creates the project's schema if it is not there and brings it to the version this program knows.
    pub async fn migrate_project(&self, project: ProjectId) -> Result<(), StoreError> {
        todo!()
    }

    /// The version of a project's schema after [`Self::migrate_project`].
    #[must_use]
    pub fn project_schema_version() -> i32 {
        0
    }
}
