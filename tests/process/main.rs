//! The operator as a process of this machine: against the API server of a local cluster, a real Postgres, and with
//! exactly the rights that the chart gives it. What only a process shows: signals, crashes, what it asks the API
//! server for, and connections that somebody else takes away.
//!
//! Needs a cluster without the chart's own operator (`hack/cluster.sh up`) and `KUBECONFIG` and `PATH` of
//! `hack/cluster.sh env`. Projects have no pods, so no image is needed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails where it stands"
)]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

mod backends;
mod bad_input;
mod bounds;
mod crash;
mod databases;
mod identity;
mod leadership;
mod lifecycle;
mod memory;
mod namespaces;
mod outages;
mod overlaps;
mod quiet;
mod rights;
mod rotation;
mod runners;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod world;
