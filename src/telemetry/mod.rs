//! What every role tells those who run it: log lines, probes and metrics. The roles pass in their
//! [`Readiness`] and their registry; nothing comes back out. Only `main` and the entry points of
//! `operator`, `ingest` and `console` call it.

mod liveness;
pub mod logs;
pub mod probes;
mod readiness;
pub mod signals;

pub use self::{liveness::Liveness, readiness::Readiness};
