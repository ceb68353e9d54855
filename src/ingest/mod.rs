//! Receives events: accept → authenticate → decode → clean → read → filter → group → batch → commit →
//! answer. In come HTTP requests of Sentry clients, out go rows of the project's schema; 200 means that
//! all of the request that is kept is committed. Runs beside its project with a login that may call a few functions
//! of `store` and read nothing; it knows no Kubernetes. Called by `main`.
//!
//! - `server` starts everything and ends it in order; `routes` is the HTTP surface (`path`, `answer`, `refusal`),
//!   `submission` one request on its way (`body`, `decoding`, `content`, `large_bodies`). `room` is the memory that requests share,
//!   `runtime` the threads.
//! - `reading` makes rows of what a body brings, by the project's `rules`; `prepare` of one event. `groupings` knows for
//!   which an older version of the grouping is not needed any more.
//! - `pipeline` queues units for the `writer`s, which make a `record` of what waits and keep it where it is `durable`;
//!   `database` is the pool.
//! - `clock` has the time of the database. `keys` and `lookups` know who may send and `limits` how much; `outcomes` counts what is dropped, `refused_keys` who
//!   still sends with a key of before; `heartbeat` tells the store.
//!
//! `commands::decode` explains a captured body with the same `Reading`.

mod answer;
mod body;
mod clock;
mod config;
mod content;
mod database;
mod decoding;
mod durable;
mod groupings;
mod heartbeat;
mod keys;
mod large_bodies;
mod limits;
mod lookups;
mod metrics;
mod outcomes;
mod path;
mod pipeline;
mod prepare;
mod reading;
pub mod record;
mod refusal;
mod refusal_log;
mod refused_keys;
mod room;
mod routes;
mod rules;
mod runtime;
mod server;
mod submission;
mod writer;

pub use config::Config;
pub(crate) use content::MAX_ENVELOPE_BYTES;
pub(crate) use outcomes::Category;
pub(crate) use reading::{ItemOutcome, ItemResult, Read, Reading};
pub(crate) use refusal::Refusal;
pub(crate) use rules::Rules;
pub use runtime::runtime;
pub use server::{Error, Server, run};
