//! Asks for a pass over the objects that a question to every database names: no watch shows what only Postgres knows.

use std::{convert::Infallible, marker::PhantomData, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::debug;

use crate::{
    operator::{
        engine::{job::Job, queue::ObjectName},
        kinds::{Context, Kind},
    },
    store::{StoreError, admin::Admin},
};

/// Longest question to one database.
const LIMIT: Duration = Duration::from_secs(5);

/// An object that a row is about.
pub struct Named {
    pub object: ObjectName,
    pub uid: String,
}

/// What a database is asked.
pub trait Question: Send + 'static {
    type Kind: Kind;

    /// Label of the job's metrics.
    const NAME: &'static str;
    /// From one question to the next.
    const INTERVAL: Duration;

    fn ask(admin: &Admin) -> impl Future<Output = Result<Vec<Named>, StoreError>> + Send;
}

/// Asks again and again, and wakes the objects that are named and there.
pub struct Asking<Q>(Arc<Context>, PhantomData<Q>);

impl<Q: Question> Asking<Q> {
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self(context, PhantomData)
    }
}

impl<Q: Question> Job for Asking<Q> {
    type Error = Infallible;

    const NAME: &'static str = Q::NAME;
    const INTERVAL: Duration = Q::INTERVAL;
    // Each database has its own.
    const LIMIT: Duration = Duration::from_mins(10);

    async fn run(&mut self) -> Result<(), Infallible> {
        let caches = &self.0.caches;
        for database in self.0.ready_databases() {
            let Ok(Ok(named)) = timeout(LIMIT, Q::ask(&database.admin)).await else {
                debug!(server = database.server, question = Q::NAME, "Could not ask a database.");
                continue;
            };
            let known = caches.of::<Q::Kind>().cache;
            for Named { object, uid } in named {
                // The owner of a database can write any name there.
                if known.uid(&object.namespace, &object.name).is_some_and(|known| *known == *uid) {
                    caches.wake::<Q::Kind>(&object);
                }
            }
        }
        Ok(())
    }
}
