//! The ingest server as Sentry's clients see it, in front of a real Postgres. What was stored is counted
//! by SQL; a status code alone proves nothing.

#[path = "../support/mod.rs"]
mod support;

mod accepting;
mod client;
mod keys;
mod load;
mod outages;
mod proxy;
mod refusing;
mod restartable;
mod world;
