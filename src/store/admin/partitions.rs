//! Partitions of `events`: always two whole ones ahead.

use jiff::Timestamp;

use super::{Admin, Partition};
use crate::{dsn::ProjectId, store::StoreError};

/// How many partitions that have not begun must exist.
pub(super) const AHEAD: usize = 2;

impl Admin {
    /// Makes what is missing; what it made.
    pub async fn ensure_partitions(&self, project: ProjectId, now: Timestamp) -> Result<Vec<Partition>, StoreError> {
        todo!()
    }
}
