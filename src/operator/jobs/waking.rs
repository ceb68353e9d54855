//! Asks for a pass over everything when Postgres is there again, away or another one.

use std::{convert::Infallible, time::Duration};

use tokio::sync::watch;

use crate::operator::{databases::DatabaseState, engine::job::Job, kinds::Caches};

pub struct Waking {
    states: watch::Receiver<DatabaseState>,
    known: String,
    caches: Caches,
}

impl Waking {
    /// What is known of the database now has been acted on.
    #[must_use]
    pub fn new(mut states: watch::Receiver<DatabaseState>, caches: Caches) -> Self {
        let known = states.borrow_and_update().fingerprint();
        Self { states, known, caches }
    }
}

impl Job for Waking {
    type Error = Infallible;

    const NAME: &'static str = "waking";
    const INTERVAL: Duration = Duration::from_mins(1);
    const LIMIT: Duration = Duration::from_mins(1);

    async fn wanted(&mut self) {
        if self.states.changed().await.is_err() {
            // The process ends.
            std::future::pending::<()>().await;
        }
    }

    async fn run(&mut self) -> Result<(), Infallible> {
        let now = self.states.borrow_and_update().fingerprint();
        if now == self.known {
            return Ok(());
        }
        self.known = now;
        self.caches.wake_all();
        Ok(())
    }
}
