//! The console's way to Postgres: views of one moment for its pages, and a heartbeat that says whether the database
//! answers.

use std::{path::Path, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    store::{
        MountedPool, StoreError,
        connection::{ConnectionError, PoolSize},
        console::Snapshot,
    },
    telemetry::Readiness,
};

/// Pages are short; more connections would only queue in Postgres instead of here.
const POOL_SIZE: PoolSize = PoolSize { min: 0, max: 4 };

/// How the console's sessions are called in `pg_stat_activity`.
const APPLICATION_NAME: &str = "error-tracking-console";

/// How often the database is asked and the Secret looked at; the kubelet syncs once a minute.
const BEAT: Duration = Duration::from_secs(5);

/// How long a page waits for a connection: refused ones are tried again until then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of a page may take. The server ends a statement after 5 s; behind a network that went silent
/// nobody does.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// One database. Clones share its pool.
#[derive(Clone)]
pub struct Database {
    pool: MountedPool,
}

impl Database {
    /// Reads the Secret mounted at `directory`; connects only when a page asks.
    pub fn open(directory: &Path) -> Result<Self, ConnectionError> {
        Ok(Self { pool: MountedPool::open(directory.to_owned(), POOL_SIZE, APPLICATION_NAME)? })
    }

    /// A consistent, read-only view for one page. Waits at most [`PATIENCE`] for a connection. A login that
    /// is refused is looked up anew at once: its password may have just changed.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let refused = self.pool.current();
        match self.begin().await {
            Err(error @ StoreError::NotPermitted { .. }) => {
                self.pool.reload().await;
                // Another page may have come first.
                if refused.is_closed() { self.begin().await } else { Err(error) }
            }
            begun => begun,
        }
    }

    /// Runs what makes a page for at most [`PAGE_TIMEOUT`].
    pub async fn in_time<T, E: From<StoreError>>(&self, page: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let made = self.pool.run(PAGE_TIMEOUT, |_pool| page).await;
        made.unwrap_or_else(|| Err(no_answer_within(PAGE_TIMEOUT).into()))
    }

    async fn begin(&self) -> Result<Snapshot, StoreError> {
        // After a restart of Postgres every resting connection is dead: each is found out once.
        let connecting = async |mut pool: PgPool| {
            for _ in 0..POOL_SIZE.max {
                match Snapshot::begin(&pool).await {
                    // It may also be the pool that was replaced.
                    Err(StoreError::Unavailable { .. }) => pool = self.pool.current(),
                    begun => return begun,
                }
            }
            Snapshot::begin(&pool).await
        };
        let begun = self.pool.run(PATIENCE, connecting).await;
        begun.unwrap_or_else(|| Err(no_answer_within(PATIENCE)))
    }

    /// Beats until `shutdown`: sets `readiness` to whether the database answered, takes up new credentials.
    pub async fn watch(self, shutdown: CancellationToken, readiness: Readiness) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(beat.tick()).await.is_some() {
            self.pool.reload().await;
            let answer = shutdown.run_until_cancelled(self.ping()).await;
            match answer {
                None => break,
                Some(Ok(())) => {
                    if !readiness.is_ready() {
                        info!("The database answers.");
                    }
                    readiness.set(true);
                }
                Some(Err(error)) => {
                    warn!(%error, "The database does not answer.");
                    readiness.set(false);
                }
            }
        }
        readiness.set(false);
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.in_time(Box::pin(async { self.snapshot().await?.end().await })).await
    }
}

fn no_answer_within(limit: Duration) -> StoreError {
    StoreError::Unavailable { message: format!("no answer within {} s", limit.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_that_hangs_is_renewed_once() {
        let directory = std::env::temp_dir().join(format!("console-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        for (file, text) in [("host", "127.0.0.1"), ("dbname", "d"), ("username", "u")] {
            std::fs::write(directory.join(file), text).unwrap();
        }
        // Accepts and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::write(directory.join("port"), silent.local_addr().unwrap().port().to_string()).unwrap();
        let database = Database::open(&directory).unwrap();
        let hung = database.pool.current();
        let (first, second) = tokio::join!(database.snapshot(), database.snapshot());
        for snapshot in [first, second] {
            assert!(matches!(snapshot.map(drop), Err(StoreError::Unavailable { .. })));
        }
        let renewed = database.pool.current();
        assert!(hung.is_closed() && !renewed.is_closed());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
