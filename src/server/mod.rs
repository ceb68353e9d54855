//! Serves HTTP for every role: one accept loop with its limits and timeouts, the probes, and the way a process ends.
//!
//! In come a listener, a tower service and [`Limits`]; out go answers. A role passes `warp::service(routes)` and keeps
//! its own numbers beside its routes. Ingest, console and operator call it; it knows none of them, and no Postgres.
//!
//! - [`Connections`] accepts and drains; [`Peer`] is who is at the other end of a request. `presence` knows who is idle
//!   and leaves for others, `inflow` reads what comes a little at a time. A request that is [`Crowded`] is to be refused.
//! - [`probes`] answers `/livez`, `/readyz` and `/metrics` on a port of its own.
//! - [`Shutdown`] ends a process stage by stage.

mod connections;
mod conversation;
mod inflow;
mod limits;
mod presence;
pub mod probes;
mod shutdown;

pub use self::{
    connections::Connections,
    conversation::{Crowded, Peer},
    limits::{Limits, Versions, WhenFull},
    shutdown::Shutdown,
};
