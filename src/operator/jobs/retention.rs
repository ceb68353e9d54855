//! Removes what is older than each project's retention, one project after the other.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::{
    crd::ErrorTrackingProject,
    operator::{databases::DatabaseState, engine::job::Job, kinds::Context},
};

/// Longest work on the expired events of one project: one server that does not answer must not keep what expires in
/// others. What is left is removed the next time.
const PROJECT_LIMIT: Duration = Duration::from_mins(5);

pub struct Retention(pub Arc<Context>);

impl Job for Retention {
    type Error = Infallible;

    const NAME: &'static str = "retention";
    const INTERVAL: Duration = Duration::from_hours(1);
    // Each project has its own.
    const LIMIT: Duration = Duration::from_hours(24);

    async fn run(&mut self) -> Result<(), Infallible> {
        for project in self.0.caches.of::<ErrorTrackingProject>().state() {
            let Ok(project) = &project.0 else { continue };
            if timeout(PROJECT_LIMIT, remove_expired(&self.0, project)).await.is_err() {
                warn!(
                    namespace = project.metadata.namespace,
                    project = project.metadata.name,
                    "Removing expired events takes too long; it goes on in an hour."
                );
            }
        }
        Ok(())
    }
}

async fn remove_expired(context: &Context, project: &ErrorTrackingProject) {
    let DatabaseState::Ready(database) = context.databases.of_project(project) else { return };
    let retention = project.spec.backend.integrated.as_ref().map(|integrated| integrated.retention_days);
    let uid = project.metadata.uid.as_deref().unwrap_or_default();
    let (Some(retention), Ok(Some(state))) = (retention, database.admin.observe_object(uid).await) else { return };
    match database.admin.drop_expired(state.project_id, retention.unsigned_abs(), Timestamp::now()).await {
        Ok(expired) if expired.events > 0 || expired.partitions > 0 => {
            info!(project = %state.project_id, ?expired, "Removed events past their retention.");
        }
        Ok(_) => {}
        Err(error) => warn!(project = %state.project_id, %error, "Could not remove events past their retention."),
    }
}
