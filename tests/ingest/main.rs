//! The ingest server as Sentry's clients see it, in front of a real Postgres. What was stored is counted
//! by SQL; a status code alone proves nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod accepting;
mod bad_envelopes;
mod bad_input;
mod bombs;
mod browsers;
mod clock;
mod endpoints;
mod filters;
mod floods;
mod items;
mod keys;
mod limits;
mod load;
mod logins;
mod memory;
mod outages;
mod privacy;
mod proxy;
mod refused_keys;
mod refusing;
mod regression;
mod samples;
mod users;
mod wire;
mod wrong_types;

use support::{attacks, client, hours, ingest as world, restartable};
