//! The doubles of Sentry and GitLab keep to what the projects document: other tests rely on it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in what its functions share too")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod faults;
mod gitlab;
mod sentry;
