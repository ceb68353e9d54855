//! Asks for a pass over the keys of which somebody still sends with one that is refused: no watch shows that.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::debug;

use crate::{
    crd::ClientKey,
    operator::{
        databases::Database,
        engine::{job::Job, queue::ObjectName},
        kinds::Context,
    },
};

/// Longest question to one database.
const LIMIT: Duration = Duration::from_secs(5);

pub struct DeadKeys(pub Arc<Context>);

impl Job for DeadKeys {
    type Error = Infallible;

    const NAME: &'static str = "dead-keys";
    const INTERVAL: Duration = Duration::from_secs(20);
    // Each database has its own.
    const LIMIT: Duration = Duration::from_mins(10);

    async fn run(&mut self) -> Result<(), Infallible> {
        for database in self.0.ready_databases() {
            self.wake(&database).await;
        }
        Ok(())
    }
}

impl DeadKeys {
    async fn wake(&self, database: &Database) {
        let asked = timeout(LIMIT, database.admin.objects_of_refused_keys()).await;
        let Ok(Ok(objects)) = asked else {
            debug!(server = database.server, "Could not read which keys are refused.");
            return;
        };
        let keys = self.0.caches.of::<ClientKey>().cache;
        for object in objects {
            // The owner of a database can write any name there.
            if keys.uid(&object.namespace, &object.name).is_some_and(|uid| *uid == *object.client_key_uid) {
                self.0.caches.wake::<ClientKey>(&ObjectName::new(&object.namespace, &object.name));
            }
        }
    }
}
