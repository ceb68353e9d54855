//! First contact with a database: its version, our schema in it, and the claim to lead it.

use sqlx::PgPool;

use super::{Admin, InstallationId};
use crate::store::StoreError;

/// What the server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// As `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    /// `false`: an acknowledged event can be lost when the machine fails.
    pub fsync: bool,
    /// Whether a commit waits for a second server, so that events survive a failover.
    pub synchronous_standby: bool,
}

impl Admin {
    /// Migrates the schema `errortracking` and claims the database for `epoch` (the lease's transitions).
    /// Refuses a server older than 15.
    pub async fn connect(pool: PgPool, epoch: i64) -> Result<Self, StoreError> {
        todo!()
    }

    /// Claims the database for a later epoch: what an older leader still sends is refused from now on.
    pub async fn claim(&mut self, epoch: i64) -> Result<(), StoreError> {
        todo!()
    }

    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.installation
    }

    #[must_use]
    pub fn server(&self) -> &ServerFacts {
        &self.server
    }

    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}
