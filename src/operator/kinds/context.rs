//! The parts that every pass uses. Each can be handed over alone.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::Semaphore;

use super::{
    caches::Caches,
    client_key::{PodLists, Tellings},
    kind::Kind,
    limits::{AllowedKeys, Limits},
    project::{AskedSettings, IngestImage, IngestPods, Rollouts},
    runner_binding::Reloads,
    warnings::warnings,
};
use crate::operator::{
    databases::{Database, DatabaseState, Databases, Dependents as _, tombstones::Tombstones},
    engine::metrics::Metrics,
    objects::{ApplyError, ChildWriter, EventRecorder, StatusWriter, namespaces::NamespaceLabels},
};

/// Passes at once over objects that are too large to be kept: each holds its object several times.
pub const LARGE_OBJECTS: usize = 2;

/// Shared by all passes of the leader.
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    /// Applies children.
    pub children: ChildWriter,
    pub statuses: StatusWriter,
    pub events: EventRecorder,
    pub databases: Databases,
    pub tombstones: Tombstones,
    pub metrics: Metrics,
    pub image: IngestImage,
    pub pods: IngestPods,
    /// Address of the console, without a slash at the end.
    pub console_url: Option<String>,
    pub limits: Limits,
    pub keys: AllowedKeys,
    /// After which time a login of ingest is replaced; zero: never.
    pub login_lifetime: Duration,
    pub rollouts: Rollouts,
    /// Room for passes over large objects, [`LARGE_OBJECTS`] at once.
    pub large_objects: Semaphore,
    pub asked: AskedSettings,
    pub pod_lists: PodLists,
    pub tellings: Tellings,
    /// Whether workloads of users may be restarted.
    pub restarts: bool,
    /// Whether runners of users may be configured.
    pub runner_bindings: bool,
    pub reloads: Reloads,
    pub namespaces: NamespaceLabels,
}

impl Context {
    /// The databases that can be asked now, the operator's own first.
    #[must_use]
    pub fn ready_databases(&self) -> Vec<Arc<Database>> {
        let elsewhere = self.caches.named();
        let elsewhere = elsewhere.iter().map(|(namespace, secret)| self.databases.projects.state(namespace, secret));
        let ready = |state| match state {
            DatabaseState::Ready(database) => Some(database),
            _ => None,
        };
        std::iter::once(self.databases.own()).chain(elsewhere).filter_map(ready).collect()
    }

    /// Writes the status if it has changed, and publishes the warnings.
    pub async fn report<K: Kind>(&self, object: &K, before: &K::Status, status: &K::Status) -> Result<(), ApplyError> {
        if before == status {
            return Ok(());
        }
        for warning in warnings(K::conditions(before), K::conditions(status)) {
            self.events.warn(object, warning);
        }
        self.statuses.write(&self.caches.of::<K>().cache, object, status).await
    }
}
