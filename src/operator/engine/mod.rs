//! Turns watch events into passes, for any kind of object: queues, workers, the loop `observe → plan → apply`, and
//! periodic jobs. Names of objects come in, calls of a pass go out. It knows no kind, child or database. Every room
//! of the operator may call it.

pub mod controller;
pub mod fault;
pub mod job;
pub mod metrics;
pub mod pass;
pub mod queue;

use std::time::Duration;

/// Without a sign for so long the process is restarted.
pub const DEAD: Duration = Duration::from_mins(5);
