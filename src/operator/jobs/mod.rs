//! The operator's periodic work: removes expired events, settles tombstones, wakes everything when Postgres has changed,
//! keys that are refused and still used, and projects that are flooded, and lets projects have their turn. Each job is a
//! type with a name, an interval and a limit. The context comes in, nothing goes out. `operator` alone starts them.

mod dead_keys;
mod floods;
mod named;
mod retention;
mod tombstones;
mod turns;
mod waking;

pub use self::{
    dead_keys::DeadKeys, floods::Floods, named::Asking, retention::Retention, tombstones::SettleTombstones,
    turns::Turns, waking::Waking,
};
