//! The one login of this process: calls of the store take turns on its few connections, each for a limited time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use sqlx::PgPool;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pipeline::COMMIT_DEADLINE;
use crate::store::{
    Mount, MountedPool, StoreError,
    connection::{ConnectionError, PoolSize},
    ingest::CONNECTIONS_A_POD,
};

/// One idle connection; busy ones for two writers and for the keys and heartbeat together.
const POOL_SIZE: PoolSize = PoolSize { min: 1, max: CONNECTIONS_A_POD };

/// How often the files are read; the kubelet itself takes about a minute to change them.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

const APPLICATION_NAME: &str = "errortracking ingest";

/// A database that has answered nobody for so long is away: whoever comes then is told so at once. What has waited
/// since before goes on to its own deadline, so that a short outage refuses nobody.
const AWAY_AFTER: Duration = COMMIT_DEADLINE;

/// What a call of the store came to, when not to its value.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The statement may still be under way on the server.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Nothing was sent: nobody has been answered for [`AWAY_AFTER`].
    #[error("the database is away")]
    Away,
}

impl Failure {
    /// Whether the same call may succeed by itself. A refused login counts: its new password may be
    /// on the way to us.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable() || matches!(error, StoreError::NotPermitted { .. }),
            Self::TimedOut => true,
            Self::Away => false,
        }
    }

    /// Whether nobody needs to do anything but wait.
    pub fn passing(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::TimedOut | Self::Away => true,
        }
    }
}

/// Calls of the store, on the pool of the mounted Secret. Clones share it.
#[derive(Clone)]
pub struct Database {
    pool: MountedPool,
    /// As many as a pool has connections: with a turn, nobody waits for a connection that another one uses.
    turns: Arc<Semaphore>,
    contact: Arc<Mutex<Contact>>,
}

/// When the database was last heard of.
#[derive(Debug)]
struct Contact {
    last_answer: Instant,
    /// A call has come to nothing since then.
    failed: bool,
    /// It was logged that the database is away.
    logged: bool,
}

impl Contact {
    fn is_away(&self) -> bool {
        self.failed && self.last_answer.elapsed() >= AWAY_AFTER
    }
}

impl Database {
    /// Reads the Secret that is mounted at `directory`; does not connect yet.
    pub fn open(directory: PathBuf) -> Result<Self, ConnectionError> {
        let pool = MountedPool::open(Mount::Directory(directory), POOL_SIZE, APPLICATION_NAME)?;
        let contact = Contact { last_answer: Instant::now(), failed: false, logged: false };
        Ok(Self {
            pool,
            turns: Arc::new(Semaphore::new(POOL_SIZE.max as usize)),
            contact: Arc::new(Mutex::new(contact)),
        })
    }

    /// As [`Self::probe`], but only while the database is not known to be away.
    pub async fn run<T, F, R>(&self, limit: Duration, operation: F) -> Result<T, Failure>
    where
        F: FnOnce(PgPool) -> R,
        R: Future<Output = Result<T, StoreError>>,
    {
        if self.contact().is_away() { Err(Failure::Away) } else { self.probe(limit, operation).await }
    }

    /// Runs `operation` on the pool, which it takes one connection of, for at most `limit`; without any time
    /// left nothing is sent. What takes longer loses its connection and its pool. Who waits for its turn in vain says
    /// nothing about the pool: others are using it. Finds out that the database is away, and that it is back.
    pub async fn probe<T, F, R>(&self, limit: Duration, operation: F) -> Result<T, Failure>
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
        let result = self.pool.run(deadline.saturating_duration_since(Instant::now()), operation).await;
        if let Some(Err(StoreError::NotPermitted { .. })) = &result {
            self.pool.reload().await;
        }
        self.observe(!matches!(result, None | Some(Err(StoreError::Unavailable { .. }))));
        Ok(result.ok_or(Failure::TimedOut)??)
    }

    fn observe(&self, answered: bool) {
        let mut contact = self.contact();
        if answered {
            if contact.logged {
                info!("The database answers again.");
            }
            *contact = Contact { last_answer: Instant::now(), failed: false, logged: false };
        } else {
            contact.failed = true;
            if contact.is_away() && !contact.logged {
                contact.logged = true;
                warn!("The database is away: requests are refused at once.");
            }
        }
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock()
    }

    /// Follows the files of the Secret until `shutdown`.
    pub async fn follow(self, shutdown: CancellationToken) {
        self.pool.follow(CHECK_INTERVAL, &shutdown).await;
    }

    /// Closes the connections, for the end of the process. Waits for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(directory: &Path, password: &str) {
        for (file, text) in
            [("host", "127.0.0.1"), ("port", "1"), ("dbname", "e"), ("username", "u"), ("password", password)]
        {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    #[tokio::test]
    async fn without_time_left_nothing_is_sent() {
        let directory = std::env::temp_dir().join(format!("ingest-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        write(&directory, "first");
        let database = Database::open(directory.clone()).unwrap();
        let result = database.run(Duration::ZERO, async |_| Ok(())).await;
        assert!(matches!(result, Err(Failure::TimedOut)), "{result:?}");
        assert_eq!(database.pool.current().size(), 0);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[tokio::test]
    async fn a_pool_is_not_replaced_because_all_its_connections_are_in_use() {
        let directory = std::env::temp_dir().join(format!("ingest-database-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        write(&directory, "first");
        let database = Database::open(directory.clone()).unwrap();
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
        let pool = database.pool.current();
        assert!(!pool.is_closed());
        // What hangs itself is left.
        let hung = database.run(Duration::from_millis(50), async |_| std::future::pending().await).await;
        assert!(matches!(hung, Err::<(), _>(Failure::TimedOut)), "{hung:?}");
        assert!(pool.is_closed());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
