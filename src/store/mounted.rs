//! A pool for the login of a mounted Secret, which follows the Secret while it changes: a rotated password is used
//! without a restart, and a pool whose connections hang is left behind.
//!
//! Ingest and console have one for each Secret that they mount. What is asked through it, and how long for, is theirs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::{Connection, ConnectionError, PoolSize};

/// A pool is not replaced for hanging before it is as old: callers with little time left would do so again and again.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The pool of the moment. Clones share it.
#[derive(Clone)]
pub struct MountedPool(Arc<Shared>);

/// Where a login is mounted.
#[derive(Clone, Debug)]
pub enum Mount {
    /// A Secret of one login, with a file for each of its keys.
    Directory(PathBuf),
    /// A key of a Secret of several logins, which holds a URI.
    UriFile(PathBuf),
}

struct Shared {
    mount: Mount,
    size: PoolSize,
    application_name: &'static str,
    current: RwLock<Current>,
    /// Pools that were replaced, on their way out.
    closing: Mutex<JoinSet<()>>,
}

struct Current {
    pool: PgPool,
    server: String,
    /// Digest of the login that the pool was made from.
    fingerprint: [u8; 32],
    since: Instant,
}

impl MountedPool {
    /// How long the connections of a pool may finish what they do once it is closed.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

    /// Reads the login that is mounted there; connects at the first use. Blocks for some small files.
    pub fn open(mount: Mount, size: PoolSize, application_name: &'static str) -> Result<Self, ConnectionError> {
        let connection = mount.read()?;
        info!(database = connection.server(), "Using the database.");
        let current = RwLock::new(Current::new(&connection, size, application_name));
        Ok(Self(Arc::new(Shared { mount, size, application_name, current, closing: Mutex::default() })))
    }

    /// Changes with the Secret: take it anew for each use. One that has been replaced is closed.
    #[must_use]
    pub fn current(&self) -> PgPool {
        self.0.current.read().pool.clone()
    }

    /// What people may see of it: `db.example:5432/errors`.
    #[must_use]
    pub fn server(&self) -> String {
        self.0.current.read().server.clone()
    }

    /// Runs `operation` on the pool for at most `limit`. `None`: it took longer, and has lost its connection and its
    /// pool. Behind a hanging server, a connection that is only put back would block the next caller.
    pub async fn run<R: Future>(&self, limit: Duration, operation: impl FnOnce(PgPool) -> R) -> Option<R::Output> {
        let pool = self.current();
        let mut running = std::pin::pin!(operation(pool.clone()));
        let ended = timeout(limit, running.as_mut()).await.ok();
        if ended.is_none() {
            // Before `running` is dropped: a connection that comes back to a closed pool is closed.
            self.replace(&pool).await;
        }
        ended
    }

    /// Reads the files every `every` until `shutdown`.
    pub async fn follow(&self, every: Duration, shutdown: &CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.reload().await;
        }
    }

    /// Another pool if the files say something else than they did. Files that cannot be read (the kubelet is exchanging
    /// them) leave everything as it is.
    pub async fn reload(&self) {
        match read(self.0.mount.clone()).await {
            Ok(connection) => {
                let fingerprint = fingerprint(&connection);
                if self.exchange(&connection, |current| current.fingerprint != fingerprint) {
                    info!(database = connection.server(), "The database Secret has changed.");
                }
            }
            Err(error) => warn!(%error, "Could not read the database Secret."),
        }
    }

    /// Closes all connections, for the end of the process. Waits for those in use: give it [`Self::CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        let mut closing = std::mem::take(&mut *self.0.closing.lock());
        let pool = self.current();
        closing.spawn(async move { pool.close().await });
        while closing.join_next().await.is_some() {}
    }

    /// Another pool for the same login in place of `hung`, unless that has been done.
    async fn replace(&self, hung: &PgPool) {
        match read(self.0.mount.clone()).await {
            Ok(connection) => {
                let hangs = |current: &Current| !hung.is_closed() && current.since.elapsed() >= MIN_AGE;
                self.exchange(&connection, hangs);
            }
            Err(error) => warn!(%error, "Could not read the database Secret."),
        }
    }

    /// Puts another pool in place of the current one if `due` says so, and closes that.
    fn exchange(&self, connection: &Connection, due: impl FnOnce(&Current) -> bool) -> bool {
        let last = {
            let mut current = self.0.current.write();
            if current.pool.is_closed() || !due(&current) {
                return false;
            }
            let next = Current::new(connection, self.0.size, self.0.application_name);
            let last = std::mem::replace(&mut *current, next).pool;
            // Calling `close` marks the pool at once; its future waits for connections that are in use.
            drop(last.close());
            last
        };
        let mut closing = self.0.closing.lock();
        while closing.try_join_next().is_some() {}
        closing.spawn(async move {
            let _in_time = timeout(Self::CLOSE_TIMEOUT, last.close()).await;
        });
        true
    }
}

impl Current {
    fn new(connection: &Connection, size: PoolSize, application_name: &str) -> Self {
        Self {
            pool: connection.pool(size, application_name),
            server: connection.server(),
            fingerprint: fingerprint(connection),
            since: Instant::now(),
        }
    }
}

impl Mount {
    fn read(&self) -> Result<Connection, ConnectionError> {
        match self {
            Self::Directory(directory) => Connection::from_directory(directory),
            Self::UriFile(file) => Connection::from_uri_file(file),
        }
    }
}

async fn read(mount: Mount) -> Result<Connection, ConnectionError> {
    tokio::task::spawn_blocking(move || mount.read()).await?
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

    const SIZE: PoolSize = PoolSize { min: 0, max: 2 };

    /// A Secret that is mounted for one test.
    struct Mounted(PathBuf);

    impl Mounted {
        fn empty() -> Self {
            let directory = std::env::temp_dir().join(format!("mounted-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir(&directory).unwrap();
            Self(directory)
        }

        fn write(&self, port: u16, password: &str) {
            let port = port.to_string();
            for (file, text) in
                [("host", "127.0.0.1"), ("port", &port), ("dbname", "e"), ("username", "u"), ("password", password)]
            {
                std::fs::write(self.0.join(file), text).unwrap();
            }
        }

        fn open(&self) -> Result<MountedPool, ConnectionError> {
            MountedPool::open(Mount::Directory(self.0.clone()), SIZE, "tests")
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_changed_secret_is_another_pool_and_an_unchanged_one_is_not() {
        let mounted = Mounted::empty();
        assert!(mounted.open().is_err(), "nothing is mounted yet");
        mounted.write(1, "first");
        let pool = mounted.open().unwrap();
        let before = pool.current();
        pool.reload().await;
        assert!(!before.is_closed());
        mounted.write(1, "second");
        pool.reload().await;
        assert!(before.is_closed());
        assert!(!pool.current().is_closed());
        drop(mounted);
        pool.reload().await;
        assert!(!pool.current().is_closed(), "a Secret that is gone does not take the connection away");
    }

    #[tokio::test]
    async fn a_pool_that_hangs_is_replaced_once() {
        let mounted = Mounted::empty();
        mounted.write(1, "first");
        let pool = mounted.open().unwrap();
        let first_pool = pool.current();
        let hang = async |_| std::future::pending::<()>().await;
        assert_eq!(pool.run(Duration::from_millis(10), hang).await, None);
        assert!(!first_pool.is_closed(), "it has only just been opened");
        let (first, second) = tokio::join!(pool.run(MIN_AGE, hang), pool.run(MIN_AGE, hang));
        assert_eq!((first, second), (None, None));
        let renewed = pool.current();
        assert!(first_pool.is_closed() && !renewed.is_closed());
        pool.replace(&first_pool).await;
        assert!(!renewed.is_closed(), "another caller that first_pool in the old pool");
    }

    #[tokio::test]
    async fn one_key_of_a_secret_is_followed_too() {
        let mounted = Mounted::empty();
        let file = mounted.0.join("web.pg.uri");
        let open = || MountedPool::open(Mount::UriFile(file.clone()), SIZE, "tests");
        std::fs::write(&file, "not a uri").unwrap();
        assert!(open().is_err());
        std::fs::write(&file, "postgresql://u:first@db.example/e\n").unwrap();
        let pool = open().unwrap();
        assert_eq!(pool.server(), "db.example:5432/e");
        std::fs::write(&file, "postgresql://u:second@db.example:5433/e").unwrap();
        let before = pool.current();
        pool.reload().await;
        assert!(before.is_closed());
        assert_eq!(pool.server(), "db.example:5433/e");
    }

    #[tokio::test]
    async fn a_pool_that_was_closed_for_good_stays_closed() {
        let mounted = Mounted::empty();
        mounted.write(1, "first");
        let pool = mounted.open().unwrap();
        pool.close().await;
        mounted.write(1, "second");
        pool.reload().await;
        assert!(pool.current().is_closed());
    }
}
