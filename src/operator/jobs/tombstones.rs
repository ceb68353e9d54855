//! Settles what deleted objects left in Postgres.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::operator::{databases::DatabaseState, engine::job::Job, kinds::Context, objects::ApplyError};

pub struct SettleTombstones {
    context: Arc<Context>,
    states: watch::Receiver<DatabaseState>,
    known: String,
}

impl SettleTombstones {
    #[must_use]
    pub fn new(context: Arc<Context>, mut states: watch::Receiver<DatabaseState>) -> Self {
        let known = states.borrow_and_update().fingerprint();
        Self { context, states, known }
    }
}

impl Job for SettleTombstones {
    type Error = ApplyError;

    const NAME: &'static str = "tombstones";
    const INTERVAL: Duration = Duration::from_secs(15);
    // A minute each for those that a server does not answer about, and as many as there are for the others.
    const LIMIT: Duration = Duration::from_hours(1);

    /// When Postgres is there again: what was deleted while it was away is owed since then.
    async fn wanted(&mut self) {
        while self.states.changed().await.is_ok() {
            let state = self.states.borrow_and_update().clone();
            let before = std::mem::replace(&mut self.known, state.fingerprint());
            if before != self.known && matches!(state, DatabaseState::Ready(_)) {
                return;
            }
        }
        // The process ends.
        std::future::pending::<()>().await;
    }

    async fn run(&mut self) -> Result<(), ApplyError> {
        match self.context.databases.own() {
            DatabaseState::Ready(_) => self.context.tombstones.settle_all(&self.context.databases).await,
            _ => Ok(()),
        }
    }
}
