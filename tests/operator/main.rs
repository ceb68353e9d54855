//! The operator in a real Kubernetes, as its users meet it: manifests in, `kubectl` and SQL to look.
//!
//! Needs a cluster with the chart installed as release `error-tracking` in namespace `error-tracking`: `make
//! test-cluster` makes one. Each test has a namespace of its own; those that take Postgres or the operator away
//! run alone.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails where it stands")]

mod admission;
mod autoscaling;
mod changes;
mod conflicts;
mod databases;
mod deletion;
mod drift;
mod exposure;
mod first_day;
mod guards;
mod holders;
mod hostile;
mod lifecycle;
mod namespaces;
mod network_policies;
mod outages;
mod plugin;
mod pod_template;
mod rotation;
mod runners;
mod secrets;
mod sigkill;
mod world;
