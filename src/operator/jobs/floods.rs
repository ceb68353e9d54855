//! Asks for a pass over the projects whose limits are met now: no watch shows that.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::debug;

use crate::{
    crd::ErrorTrackingProject,
    operator::{
        databases::Database,
        engine::{job::Job, queue::ObjectName},
        kinds::Context,
    },
};

/// Longest question to one database.
const LIMIT: Duration = Duration::from_secs(5);

pub struct Floods(pub Arc<Context>);

impl Job for Floods {
    type Error = Infallible;

    const NAME: &'static str = "floods";
    // Each run may write the status of each of them.
    const INTERVAL: Duration = Duration::from_mins(1);
    // Each database has its own.
    const LIMIT: Duration = Duration::from_mins(10);

    async fn run(&mut self) -> Result<(), Infallible> {
        for database in self.0.ready_databases() {
            self.wake(&database).await;
        }
        Ok(())
    }
}

impl Floods {
    async fn wake(&self, database: &Database) {
        let asked = timeout(LIMIT, database.admin.flooded_projects()).await;
        let Ok(Ok(projects)) = asked else {
            debug!(server = database.server, "Could not read which projects are flooded.");
            return;
        };
        let known = self.0.caches.of::<ErrorTrackingProject>().cache;
        for project in projects {
            // The owner of a database can write any name there.
            if known.uid(&project.namespace, &project.name).is_some_and(|uid| *uid == *project.object_uid) {
                self.0.caches.wake::<ErrorTrackingProject>(&ObjectName::new(&project.namespace, &project.name));
            }
        }
    }
}
