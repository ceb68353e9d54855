//! What every pass uses. Each part can be handed over alone.

use kube::Client;

use super::{
    caches::Caches,
    project::{IngestImage, Rollouts},
};
use crate::operator::{
    databases::{Databases, Guards, tombstones::Tombstones},
    engine::metrics::Metrics,
    objects::{ChildWriter, EventRecorder, StatusWriter},
};

/// Shared by all passes of the leader.
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    /// What was applied of children.
    pub children: ChildWriter,
    pub statuses: StatusWriter,
    pub events: EventRecorder,
    pub databases: Databases,
    pub tombstones: Tombstones,
    pub metrics: Metrics,
    pub image: IngestImage,
    pub guards: Guards,
    pub rollouts: Rollouts,
}
