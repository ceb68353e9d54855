//! Logins of ingest and console, with exactly what they need.

use secrecy::SecretString;

use super::Admin;
use crate::{dsn::ProjectId, store::StoreError};

impl Admin {
    /// The project's ingest login with this password; its name. Existing sessions go on after a change.
    pub async fn ensure_ingest_role(&self, project: ProjectId, password: &SecretString) -> Result<String, StoreError> {
        todo!()
    }

    /// The console's login with this password; its name. It reads and cannot write.
    pub async fn ensure_console_role(&self, password: &SecretString) -> Result<String, StoreError> {
        todo!()
    }

    /// SHA-256 of the password [`Self::ensure_console_role`] set last, if the role still exists.
    pub async fn console_password_digest(&self) -> Result<Option<[u8; 32]>, StoreError> {
        todo!()
    }
}

/// SHA-256 of a password, as [`super::ProjectState::password_digest`] shows it.
#[must_use]
pub fn password_digest(password: &SecretString) -> [u8; 32] {
    todo!()
}
