//! The one login of this process, read from a mounted Secret and followed while it changes: a rotated
//! password is used without a restart, and a connection that hangs is left behind.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::{
    Connection, StoreError,
    connection::{ConnectionError, PoolSize},
};

/// One idle connection; busy ones for two writers and for the keys and heartbeat together.
const POOL_SIZE: PoolSize = PoolSize { min: 1, max: 3 };

/// How often the files are read; the kubelet itself takes about a minute to change them.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the connections of a pool that was replaced may finish what they do.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

const APPLICATION_NAME: &str = "errortracking ingest";

/// What a call of the store came to, when not to its value.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The statement may still be under way on the server.
    #[error("the database did not answer in time")]
    TimedOut,
}

impl Failure {
    /// Whether the same call may succeed by itself. A refused login counts: its new password may be
    /// on the way to us.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable() || matches!(error, StoreError::NotPermitted { .. }),
            Self::TimedOut => true,
        }
    }

    /// Whether nobody needs to do anything but wait.
    pub fn passing(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::TimedOut => true,
        }
    }
}

/// The pool of the moment. Clones share it.
#[derive(Clone)]
pub struct Database {
    directory: Arc<Path>,
    current: Arc<RwLock<Current>>,
    /// As many as a pool has connections: with a turn, nobody waits for a connection that another one uses.
    turns: Arc<Semaphore>,
}

struct Current {
    pool: PgPool,
    fingerprint: [u8; 32],
    since: Instant,
}

impl Database {
    /// Reads the Secret that is mounted at `directory`; does not connect yet.
    pub async fn open(directory: PathBuf) -> Result<Self, ConnectionError> {
        let connection = read(directory.as_path().into()).await?;
        info!(database = connection.server(), "Using the database.");
        let current = Arc::new(RwLock::new(Current::new(&connection)));
        let turns = Arc::new(Semaphore::new(POOL_SIZE.max as usize));
        Ok(Self { directory: directory.into(), current, turns })
    }

    /// Runs `operation` on the pool, which it takes one connection of, for at most `limit`; without any time
    /// left nothing is sent. What takes longer loses its connection and its pool: behind a hanging server, a
    /// connection that is only put back would block the next caller. Who waits for its turn in vain says
    /// nothing about the pool: others are using it.
    pub async fn run<T, F, R>(&self, limit: Duration, operation: F) -> Result<T, Failure>
    where
        F: FnOnce(PgPool) -> R,
        R: Future<Output = Result<T, StoreError>>,
    {
        if limit.is_zero() {
            return Err(Failure::TimedOut);
        }
        let deadline = Instant::now() + limit;
        let Ok(Ok(_turn)) = timeout_at(deadline, self.turns.acquire()).await else {
            return Err(StoreError::from(sqlx::Error::PoolTimedOut).into());
        };
        let pool = self.pool();
        let mut running = std::pin::pin!(operation(pool.clone()));
        match timeout_at(deadline, running.as_mut()).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if matches!(error, StoreError::NotPermitted { .. }) {
                    self.reload().await;
                }
                Err(error.into())
            }
            Err(_elapsed) => {
                // Before `running` is dropped: a connection that comes back to a closed pool is closed.
                self.replace(&pool).await;
                Err(Failure::TimedOut)
            }
        }
    }

    /// Follows the files until `shutdown`.
    pub async fn follow(self, shutdown: CancellationToken) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.reload().await;
        }
    }

    /// Closes the connections, for the end of the process.
    pub async fn close(&self) {
        let _in_time = timeout(CLOSE_TIMEOUT, self.pool().close()).await;
    }

    fn pool(&self) -> PgPool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).pool.clone()
    }

    /// Another pool if the files say something else than they did. Files that cannot be read (the
    /// kubelet is exchanging them) leave everything as it is.
    async fn reload(&self) {
        match read(Arc::clone(&self.directory)).await {
            Ok(connection) => {
                let fingerprint = fingerprint(&connection);
                if self.current.read().unwrap_or_else(PoisonError::into_inner).fingerprint != fingerprint {
                    info!(database = connection.server(), "The database Secret has changed.");
                    self.exchange(&connection);
                }
            }
            Err(error) => warn!(%error, "Could not read the database Secret."),
        }
    }

    /// Another pool for the same login in place of `hung`, unless that has been done.
    async fn replace(&self, hung: &PgPool) {
        let since = self.current.read().unwrap_or_else(PoisonError::into_inner).since;
        // Two callers that hang in the same pool replace it once.
        if hung.is_closed() || since.elapsed() < CHECK_INTERVAL {
            return;
        }
        match read(Arc::clone(&self.directory)).await {
            Ok(connection) => self.exchange(&connection),
            Err(error) => warn!(%error, "Could not read the database Secret."),
        }
    }

    fn exchange(&self, connection: &Connection) {
        let next = Current::new(connection);
        let last = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        // Calling `close` marks the pool at once; its future waits for connections that are in use. It
        // ends by itself, so nobody owns the task.
        drop(last.pool.close());
        let closed = async move {
            let _in_time = timeout(CLOSE_TIMEOUT, last.pool.close()).await;
        };
        tokio::spawn(closed);
    }
}

impl Current {
    fn new(connection: &Connection) -> Self {
        Self {
            pool: connection.pool(POOL_SIZE, APPLICATION_NAME),
            fingerprint: fingerprint(connection),
            since: Instant::now(),
        }
    }
}

async fn read(directory: Arc<Path>) -> Result<Connection, ConnectionError> {
    let reading = tokio::task::spawn_blocking(move || Connection::from_directory(&directory));
    reading.await.unwrap_or_else(|stopped| {
        let source = std::io::Error::other(stopped);
        Err(ConnectionError::Unreadable { file: "password", source })
    })
}

fn fingerprint(connection: &Connection) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (key, value) in connection.to_map() {
        hash.update(key.len().to_be_bytes());
        hash.update(key);
        hash.update(value.len().to_be_bytes());
        hash.update(value);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, password: &str) {
        for (file, text) in
            [("host", "127.0.0.1"), ("port", "1"), ("dbname", "e"), ("username", "u"), ("password", password)]
        {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    #[tokio::test]
    async fn a_changed_secret_is_another_pool_and_an_unchanged_one_is_not() {
        let directory = std::env::temp_dir().join(format!("ingest-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        assert!(Database::open(directory.clone()).await.is_err(), "nothing is mounted yet");
        write(&directory, "first");
        let database = Database::open(directory.clone()).await.unwrap();
        let before = database.pool();
        database.reload().await;
        assert!(!before.is_closed());
        write(&directory, "second");
        database.reload().await;
        assert!(before.is_closed());
        assert!(!database.pool().is_closed());
        std::fs::remove_dir_all(&directory).unwrap();
        database.reload().await;
        assert!(!database.pool().is_closed(), "a Secret that is gone does not take the connection away");
    }

    #[tokio::test]
    async fn without_time_left_nothing_is_sent() {
        let directory = std::env::temp_dir().join(format!("ingest-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        write(&directory, "first");
        let database = Database::open(directory.clone()).await.unwrap();
        let result = database.run(Duration::ZERO, async |_| Ok(())).await;
        assert!(matches!(result, Err(Failure::TimedOut)), "{result:?}");
        assert_eq!(database.pool().size(), 0);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[tokio::test]
    async fn a_pool_is_not_replaced_because_all_its_connections_are_in_use() {
        let directory = std::env::temp_dir().join(format!("ingest-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        write(&directory, "first");
        let database = Database::open(directory.clone()).await.unwrap();
        tokio::time::sleep(CHECK_INTERVAL).await;
        let users = futures::future::join_all((0..POOL_SIZE.max).map(|_| {
            database.run(Duration::from_mins(1), async |_| {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(())
            })
        }));
        let (used, waited) = tokio::join!(users, database.run(Duration::from_millis(50), async |_| Ok(())));
        assert!(used.iter().all(Result::is_ok), "{used:?}");
        assert!(matches!(&waited, Err(failure) if failure.passing()), "{waited:?}");
        let pool = database.pool();
        assert!(!pool.is_closed());
        // What hangs itself is left.
        let hung = database.run(Duration::from_millis(50), async |_| std::future::pending().await).await;
        assert!(matches!(hung, Err::<(), _>(Failure::TimedOut)), "{hung:?}");
        assert!(pool.is_closed());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
