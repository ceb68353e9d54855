//! What turns events into passes, for any kind of object: queues, the workers that take from them, and the loop
//! `observe → plan → apply` that a pass is. Names of objects come in, calls of a pass go out. It knows no kind, no child
//! and no database; whoever is above it in the operator may call it.

pub mod controller;
pub mod fault;
pub mod job;
pub mod metrics;
pub mod pass;
pub mod queue;

use std::time::Duration;

/// Without a sign for so long the process is restarted.
pub const DEAD: Duration = Duration::from_mins(5);
