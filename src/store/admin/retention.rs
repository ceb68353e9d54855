//! What is older than the retention goes: whole partitions, single events, then issues without any.

use jiff::Timestamp;

use super::Admin;
use crate::{dsn::ProjectId, store::StoreError};

/// What [`Admin::drop_expired`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub partitions: u64,
    pub events: u64,
    pub issues: u64,
}

impl Admin {
    /// Removes events received more than `retention_days` before `now`, and issues that have none left.
    pub async fn drop_expired(
        &self,
        project: ProjectId,
        retention_days: u32,
        now: Timestamp,
    ) -> Result<Expired, StoreError> {
        todo!()
    }
}
