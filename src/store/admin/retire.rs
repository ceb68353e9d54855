//! A project goes: keys, login and, if asked, its schema.

use super::{Admin, DeletionPolicy};
use crate::{dsn::ProjectId, store::StoreError};

impl Admin {
    /// Revokes the keys, removes the login with its sessions and, with `Delete`, drops the schema.
    /// Repeating it finishes what is left; an unknown project is gone already.
    pub async fn retire_project(&self, project: ProjectId, policy: DeletionPolicy) -> Result<(), StoreError> {
        todo!()
    }
}
