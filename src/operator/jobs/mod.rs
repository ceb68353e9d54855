//! The operator's periodic work: what expires is removed, what deleted objects left is settled, and everything is looked at
//! again when Postgres has changed. Each is a type with a name, an interval and a limit. `operator` alone starts them.

mod retention;
mod tombstones;
mod waking;

pub use self::{retention::Retention, tombstones::SettleTombstones, waking::Waking};
