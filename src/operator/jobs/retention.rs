//! Removes what is older than each project's retention, a few projects at a time, and reads how much is left.

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::{
    crd::ErrorTrackingProject,
    dsn::ProjectId,
    operator::{
        databases::{Database, DatabaseState},
        engine::{job::Job, queue::ObjectName},
        kinds::{Context, project::ProjectMetrics},
    },
    store::{StoreError, admin::SchemaOwner},
};

/// Projects that are worked on at once.
const AT_ONCE: usize = 4;
/// Longest work on the expired events of one project: one server that does not answer must not keep what expires in
/// others. What is left is removed the next time. A database that belongs to the project's owner gets less.
const PROJECT_LIMIT: Duration = Duration::from_mins(5);
const OWNERS_LIMIT: Duration = Duration::from_mins(1);
/// Longest wait for how much one project has stored; longer than the server may take for an answer. What was read before
/// stays.
const MEASURE_LIMIT: Duration = Duration::from_secs(30);

pub struct Retention {
    pub context: Arc<Context>,
    pub metrics: ProjectMetrics,
}

impl Job for Retention {
    type Error = Infallible;

    const NAME: &'static str = "retention";
    const INTERVAL: Duration = Duration::from_hours(1);
    // Each project has its own.
    const LIMIT: Duration = Duration::from_hours(24);

    async fn run(&mut self) -> Result<(), Infallible> {
        let projects = self.context.caches.of::<ErrorTrackingProject>().cache;
        let mut names = projects.names();
        let facts = |name: &ObjectName| projects.facts(&name.namespace, &name.name).unwrap_or_default();
        // Those in the operator's own database first: no tenant can make them slow.
        names.sort_by_cached_key(|name| !facts(name).refers_to.is_empty());
        let work = futures::stream::iter(names).for_each_concurrent(AT_ONCE, |name| self.work_on(name));
        work.await;
        let living: HashSet<_> = projects.summaries(|all| all.map(|(_, summary)| summary.uid.clone()).collect());
        self.context.asked.retain(&living);
        self.metrics.forget_gone();
        Ok(())
    }
}

impl Retention {
    async fn work_on(&self, name: ObjectName) {
        let Some(project) = self.context.caches.project(&name.namespace, &name.name) else { return };
        let Ok(project) = &project.0 else { return };
        let DatabaseState::Ready(database) = self.context.databases.of_project(project) else { return };
        let limit = if project.database_secret().is_some() { OWNERS_LIMIT } else { PROJECT_LIMIT };
        let ObjectName { namespace, name } = &name;
        let Ok(id) = timeout(limit, remove_expired(&database, project)).await else {
            warn!(%namespace, project = %name, "Removing expired events takes too long; it goes on in an hour.");
            return;
        };
        let uid = project.metadata.uid.as_deref().unwrap_or_default();
        let Some(id) = id else { return };
        if timeout(MEASURE_LIMIT, self.measure(&database, uid, id)).await.is_err() {
            warn!(%namespace, project = %name, "Reading how much a project has stored takes too long.");
        }
    }

    async fn measure(&self, database: &Database, uid: &str, id: ProjectId) {
        let read = async {
            self.metrics.set_bytes(uid, database.admin.project_bytes(id).await?);
            self.metrics.set_oldest_event(uid, database.admin.oldest_event(id).await?);
            Ok::<_, StoreError>(())
        };
        if let Err(error) = read.await {
            warn!(project = %id, %error, "Could not read how much a project has stored.");
        }
    }
}

/// The project's number, if its schema is there.
async fn remove_expired(database: &Database, project: &ErrorTrackingProject) -> Option<ProjectId> {
    let retention = project.spec.backend.integrated.as_ref()?.retention_days;
    let uid = project.metadata.uid.as_deref().unwrap_or_default();
    let state = database.admin.observe_object(uid).await.ok()??;
    match database.admin.drop_expired(state.project_id, retention.unsigned_abs(), Timestamp::now()).await {
        Ok(expired) if expired.events > 0 || expired.partitions > 0 => {
            info!(project = %state.project_id, ?expired, "Removed events past their retention.");
        }
        Ok(_) => {}
        Err(error) => warn!(project = %state.project_id, %error, "Could not remove events past their retention."),
    }
    (state.schema_owner == SchemaOwner::Ours && state.schema_version > 0).then_some(state.project_id)
}
