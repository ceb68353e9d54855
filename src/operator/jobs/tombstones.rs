//! Settles what deleted objects left in Postgres.

use std::{sync::Arc, time::Duration};

use crate::operator::{databases::DatabaseState, engine::job::Job, kinds::Context, objects::ApplyError};

pub struct SettleTombstones(pub Arc<Context>);

impl Job for SettleTombstones {
    type Error = ApplyError;

    const NAME: &'static str = "tombstones";
    const INTERVAL: Duration = Duration::from_secs(15);
    // A minute each for those that a server does not answer about, and as many as there are for the others.
    const LIMIT: Duration = Duration::from_hours(1);

    async fn run(&mut self) -> Result<(), ApplyError> {
        match self.0.databases.own() {
            DatabaseState::Ready(_) => self.0.tombstones.settle_all(&self.0.databases).await,
            _ => Ok(()),
        }
    }
}
