//! What every role tells those who run it: log lines, and what the probes show. The roles set their [`Readiness`] and
//! give signs to their [`Liveness`]; `server::probes` reads both. Below everything else: it names no other room.

pub mod build_info;
mod liveness;
pub mod logs;
mod readiness;
pub mod signals;

pub use self::{liveness::Liveness, readiness::Readiness};
