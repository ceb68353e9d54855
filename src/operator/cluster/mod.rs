//! The way to the API server: a client that needs a lease to write, the lease, and watches that keep caches true. Changes
//! go out to whoever started a watch. It knows no kind of object by name; whoever is above it in the operator may call it.

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
