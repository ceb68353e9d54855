//! The kinds of custom resources. Each has its pass (`observe → plan → apply`), its deletion and its status. Names of
//! objects come in from the queues; children, rows and statuses go out. `operator`, its jobs and the commands call
//! it.

mod caches;
mod client_key;
mod context;
mod deletion;
mod failure;
#[cfg(test)]
mod health_states;
mod kind;
mod limits;
pub mod project;
mod restarts;
mod runner_binding;
mod warnings;

use self::kind::Descriptor;
pub use self::{
    caches::{Caches, Reconciled},
    client_key::{KeyMetrics, PodLists, Tellings},
    context::{Context, LARGE_OBJECTS},
    kind::Kind,
    limits::{AllowedKeys, Limits},
    runner_binding::Reloads,
};
use crate::crd::{ClientKey, ErrorTrackingProject, RunnerBinding};

/// Every kind. One that depends on another stands behind it.
pub static KINDS: &[Descriptor] =
    &[Descriptor::of::<ErrorTrackingProject>(), Descriptor::of::<ClientKey>(), Descriptor::of::<RunnerBinding>()];
