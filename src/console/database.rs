//! The console's way to Postgres: a pool that follows the mounted Secret, and a heartbeat that says
//! whether the database answers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    store::{
        StoreError,
        connection::{Connection, ConnectionError, PoolSize},
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

/// The current pool. Clones share it.
#[derive(Clone)]
pub struct Database {
    directory: PathBuf,
    current: Arc<RwLock<Current>>,
}

struct Current {
    pool: PgPool,
    /// Digest of the Secret's files that the pool was made from.
    fingerprint: [u8; 32],
}

impl Database {
    /// Reads the Secret mounted at `directory`; connects only when a page asks.
    pub fn open(directory: &Path) -> Result<Self, ConnectionError> {
        let current = Current::read(directory, fingerprint(directory))?;
        Ok(Self { directory: directory.to_owned(), current: Arc::new(RwLock::new(current)) })
    }

    /// A consistent, read-only view for one page. Waits at most [`PATIENCE`] for a connection. A login that
    /// is refused is looked up anew at once: its password may have just changed.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        match self.begin().await {
            Err(StoreError::NotPermitted { .. }) if self.follow_secret() => self.begin().await,
            begun => begun,
        }
    }

    /// Runs what makes a page for at most [`PAGE_TIMEOUT`].
    pub async fn in_time<T, E: From<StoreError>>(&self, page: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let pool = self.pool();
        let mut page = std::pin::pin!(page);
        tokio::time::timeout(PAGE_TIMEOUT, page.as_mut()).await.unwrap_or_else(|_elapsed| {
            self.renew(&pool);
            Err(no_answer_within(PAGE_TIMEOUT).into())
        })
    }

    fn pool(&self) -> PgPool {
        // The guard ends with the statement: no lock is held across an await.
        self.current.read().unwrap_or_else(PoisonError::into_inner).pool.clone()
    }

    async fn begin(&self) -> Result<Snapshot, StoreError> {
        let pool = self.pool();
        // After a restart of Postgres every resting connection is dead: each is found out once.
        let mut begin = Box::pin(async {
            for _ in 0..POOL_SIZE.max {
                match Snapshot::begin(&pool).await {
                    Err(StoreError::Unavailable { .. }) => {}
                    begun => return begun,
                }
            }
            Snapshot::begin(&pool).await
        });
        tokio::time::timeout(PATIENCE, begin.as_mut()).await.unwrap_or_else(|_elapsed| {
            self.renew(&pool);
            Err(no_answer_within(PATIENCE))
        })
    }

    /// Beats until `shutdown`: sets `readiness` to whether the database answered, takes up new credentials.
    pub async fn watch(self, shutdown: CancellationToken, readiness: Readiness) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(beat.tick()).await.is_some() {
            self.follow_secret();
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

    /// Another pool in place of `hung`, unless that has been done: a connection that hangs would come back to it
    /// and keep its place for as long as it hangs.
    fn renew(&self, hung: &PgPool) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if hung.is_closed() || current.pool.is_closed() {
            return;
        }
        match Current::read(&self.directory, fingerprint(&self.directory)) {
            Ok(new) => {
                let old = std::mem::replace(&mut *current, new);
                // Marks it closed, so that what comes back is closed; nobody waits for that.
                drop(old.pool.close());
            }
            Err(error) => warn!(%error, "Could not read the database credentials anew."),
        }
    }

    /// The operator may write a new password at any time; the kubelet then swaps the files. Whether there
    /// are other credentials now than before. Blocks for some small files in memory.
    fn follow_secret(&self) -> bool {
        let seen = fingerprint(&self.directory);
        let is_current = |current: &Current| current.fingerprint == seen;
        if is_current(&self.current.read().unwrap_or_else(PoisonError::into_inner)) {
            return false;
        }
        match Current::read(&self.directory, seen) {
            Ok(new) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                // Another page may have come first.
                if !is_current(&current) {
                    // Pages under way keep the old pool until they end.
                    *current = new;
                    info!("Took up new database credentials.");
                }
                true
            }
            // Half-written or taken away: the pool that worked so far goes on.
            Err(error) => {
                warn!(%error, "Could not read the database credentials anew.");
                false
            }
        }
    }
}

impl Current {
    fn read(directory: &Path, fingerprint: [u8; 32]) -> Result<Self, ConnectionError> {
        let connection = Connection::from_directory(directory)?;
        Ok(Self { pool: connection.pool(POOL_SIZE, APPLICATION_NAME), fingerprint })
    }
}

fn no_answer_within(limit: Duration) -> StoreError {
    StoreError::Unavailable { message: format!("no answer within {} s", limit.as_secs()) }
}

/// Names and contents of the directory's files; a directory that cannot be read has one of its own.
fn fingerprint(directory: &Path) -> [u8; 32] {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name(), std::fs::read(entry.path()).ok()?))
        })
        .collect();
    files.sort();
    let mut digest = Sha256::new();
    for (name, content) in files {
        for part in [name.as_encoded_bytes(), &content] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
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
        let hung = database.pool();
        let (first, second) = tokio::join!(database.snapshot(), database.snapshot());
        for snapshot in [first, second] {
            assert!(matches!(snapshot.map(drop), Err(StoreError::Unavailable { .. })));
        }
        let renewed = database.pool();
        assert!(hung.is_closed() && !renewed.is_closed());
        database.renew(&hung);
        assert!(!renewed.is_closed(), "another page that hung in the old pool");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
