//! Real parts for the tests, and what stands between them. A folder of tests takes it in with
//! `#[path = "../support/mod.rs"] mod support;`.

#![allow(dead_code, reason = "not every test binary uses every part")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

pub mod attacks;
pub mod authority;
pub mod client;
pub mod hours;
pub mod ingest;
pub mod key_servers;
pub mod postgres;
pub mod proxy;
pub mod restartable;
pub mod versions;
