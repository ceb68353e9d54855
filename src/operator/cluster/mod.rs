//! The way to the API server: a client that needs a lease to write, the lease, and watches that keep caches current.
//! Watch events come in, changes go out to the starter of the watch. It knows no kind by name. `objects`,
//! `databases`, `kinds` and the operator itself may call it.

pub mod cache;
pub mod client;
pub mod leader;
mod packing;
mod resources;
pub mod watch;

pub use self::{
    resources::{Guarded, Resources},
    watch::prune_metadata,
};
