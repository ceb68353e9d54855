//! One database: views of one moment for the pages, and whether it answered last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use sqlx::PgPool;
use tracing::{info, warn};
use uuid::Uuid;

use crate::store::{
    Mount, MountedPool, StoreError,
    connection::{ConnectionError, PoolSize},
    console::{
        ApiToken, Change, NewToken, Project, ProjectAddress, ProjectSummary, Session, SessionDigest, Snapshot,
        TokenDigest, User, Wanted, api_tokens_of, begin_session, begin_session_once, end_session, end_sessions_of,
        find_session, make_api_token, make_ticket, revoke_api_token, ticket_user, use_api_token, use_ticket,
    },
};

/// Pages are short; more connections would only queue in Postgres instead of here.
pub const PAGE_CONNECTIONS: u32 = 4;
/// Beside those of pages: who somebody is does not wait for a page that is slow.
pub const SESSION_CONNECTIONS: u32 = 2;

/// How the console's sessions are called in `pg_stat_activity`.
const APPLICATION_NAME: &str = "error-tracking-console";

/// How long a page waits for a connection: refused ones are tried again until then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of a page may take. The server ends a statement after 5 s; behind a network that went silent
/// nobody does.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a page about all projects waits for a database that is not the installation's own: a slow one is its
/// project's affair.
const OTHER_TIMEOUT: Duration = Duration::from_secs(2);

/// Whose projects a database may speak about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator keeps it: every project.
    Installation,
    /// Projects of this namespace name it in their spec, and its people may write into it what they like.
    Namespace(String),
}

/// A database that the console has a login for. Clones share its pool.
#[derive(Clone)]
pub struct Database {
    pool: MountedPool,
    owner: Owner,
    answers: Arc<AtomicBool>,
    connections: u32,
}

impl Database {
    /// Reads the login; connects only when a page asks.
    pub fn open(mount: Mount, owner: Owner, connections: u32) -> Result<Self, ConnectionError> {
        let pool = MountedPool::open(mount, PoolSize { min: 0, max: connections }, APPLICATION_NAME)?;
        Ok(Self { pool, owner, answers: Arc::new(AtomicBool::new(true)), connections })
    }

    /// `db.example:5432/errors`
    #[must_use]
    pub fn server(&self) -> String {
        self.pool.server()
    }

    /// The namespace that it belongs to; `None`: the installation's own.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match &self.owner {
            Owner::Installation => None,
            Owner::Namespace(namespace) => Some(namespace),
        }
    }

    /// Whether it answered when it was looked at last; so before the first look.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Runs what makes a page for at most [`PAGE_TIMEOUT`].
    pub async fn in_time<T, E: From<StoreError>>(&self, page: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.within(PAGE_TIMEOUT, page).await
    }

    /// The projects that it may speak about.
    pub async fn projects(&self, since: Timestamp) -> Result<Vec<ProjectSummary>, StoreError> {
        let reading = async {
            let mut snapshot = self.snapshot().await?;
            let projects = snapshot.projects(since).await?;
            snapshot.end().await?;
            Ok::<_, StoreError>(projects)
        };
        let mut projects = self.within(self.patience(), reading).await?;
        projects.retain(|summary| self.may_speak_about(&summary.project));
        Ok(projects)
    }

    /// Where the projects are that it may speak about.
    pub async fn addresses(&self) -> Result<Vec<ProjectAddress>, StoreError> {
        let reading = async {
            let mut snapshot = self.snapshot().await?;
            let addresses = snapshot.addresses().await?;
            snapshot.end().await?;
            Ok::<_, StoreError>(addresses)
        };
        let mut addresses = self.within(self.patience(), reading).await?;
        addresses.retain(|address| self.may_hold(&Wanted::Address(address.clone())));
        Ok(addresses)
    }

    /// Whether it could hold that project at all.
    #[must_use]
    pub fn may_hold(&self, wanted: &Wanted) -> bool {
        match (&self.owner, wanted) {
            (Owner::Namespace(owner), Wanted::Address(address)) => *owner == address.namespace,
            _ => true,
        }
    }

    /// The project that is wanted, if its events are here, and a view to read it by.
    pub async fn find(&self, wanted: &Wanted) -> Result<Option<(Snapshot, Project)>, StoreError> {
        let finding = async {
            let mut snapshot = self.snapshot().await?;
            let project = snapshot.project(wanted).await?;
            Ok::<_, StoreError>(project.map(|project| (snapshot, project)))
        };
        let found = self.within(self.patience(), finding).await?;
        Ok(found.filter(|(_, project)| self.may_speak_about(project)))
    }

    /// The session of that digest, if it is not over.
    pub async fn session(&self, digest: SessionDigest) -> Result<Option<Session>, StoreError> {
        self.with_pool(|pool| async move { find_session(&pool, digest).await }).await
    }

    pub async fn begin_session(&self, digest: SessionDigest, session: &Session) -> Result<(), StoreError> {
        self.with_pool(|pool| {
            let session = session.clone();
            async move { begin_session(&pool, digest, &session).await }
        })
        .await
    }

    /// As [`Self::begin_session`], but once for each `arrival`: whether it was the first.
    pub async fn begin_session_once(
        &self,
        arrival: SessionDigest,
        digest: SessionDigest,
        session: &Session,
    ) -> Result<bool, StoreError> {
        self.with_pool(|pool| {
            let session = session.clone();
            async move { begin_session_once(&pool, arrival, digest, &session).await }
        })
        .await
    }

    pub async fn end_session(&self, digest: SessionDigest) -> Result<(), StoreError> {
        self.with_pool(|pool| async move { end_session(&pool, digest).await }).await
    }

    pub async fn make_ticket(&self, digest: SessionDigest, session: &Session) -> Result<(), StoreError> {
        self.with_pool(|pool| {
            let session = session.clone();
            async move { make_ticket(&pool, digest, &session).await }
        })
        .await
    }

    /// Who made the ticket of that digest, if it is not over.
    pub async fn ticket_user(&self, digest: SessionDigest) -> Result<Option<String>, StoreError> {
        self.with_pool(|pool| async move { ticket_user(&pool, digest).await }).await
    }

    /// The session that a ticket begins, which is used up by that.
    pub async fn use_ticket(&self, digest: SessionDigest) -> Result<Option<Session>, StoreError> {
        self.with_pool(|pool| async move { use_ticket(&pool, digest).await }).await
    }

    /// Whether it was made: there is a limit for each user.
    pub async fn make_api_token(&self, token: &NewToken) -> Result<bool, StoreError> {
        self.with_pool(|pool| async move { make_api_token(&pool, token).await }).await
    }

    /// Who made the token, and what it may be used for.
    pub async fn use_api_token(&self, digest: TokenDigest) -> Result<Option<(User, Vec<String>)>, StoreError> {
        self.with_pool(|pool| async move { use_api_token(&pool, digest).await }).await
    }

    pub async fn api_tokens_of(&self, user: &str) -> Result<Vec<ApiToken>, StoreError> {
        self.with_pool(|pool| async move { api_tokens_of(&pool, user).await }).await
    }

    pub async fn revoke_api_token(&self, user: &str, token: Uuid) -> Result<(), StoreError> {
        self.with_pool(|pool| async move { revoke_api_token(&pool, user, token).await }).await
    }

    pub async fn end_sessions_of(&self, user: &str) -> Result<(), StoreError> {
        self.with_pool(|pool| async move { end_sessions_of(&pool, user).await }).await
    }

    /// A transaction that acts on issues.
    pub async fn begin_change(&self) -> Result<Change, StoreError> {
        self.with_pool(|pool| async move { Change::begin(&pool).await }).await
    }

    /// Takes up a changed login, and looks whether the database answers.
    pub async fn look(&self) {
        self.pool.reload().await;
        let ping = async { self.snapshot().await?.end().await };
        let answered = self.within(2 * PATIENCE, ping).await;
        let answers = answered.is_ok();
        let answered_before = self.answers.swap(answers, Ordering::Relaxed);
        match answered {
            Err(error) if answered_before => warn!(server = self.server(), %error, "A database does not answer."),
            Ok(()) if !answered_before => info!(server = self.server(), "A database answers again."),
            _ => {}
        }
    }

    /// Takes up a changed login.
    pub async fn reload(&self) {
        self.pool.reload().await;
    }

    /// Closes its connections when those in use are done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn patience(&self) -> Duration {
        if self.owner == Owner::Installation { PAGE_TIMEOUT } else { OTHER_TIMEOUT }
    }

    fn may_speak_about(&self, project: &Project) -> bool {
        match &self.owner {
            Owner::Installation => true,
            Owner::Namespace(namespace) => *namespace == project.namespace && project.server.is_none(),
        }
    }

    /// A consistent, read-only view for one page.
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.with_pool(|pool| async move { Snapshot::begin(&pool).await }).await
    }

    /// What `operation` makes of a connection. Waits at most [`PATIENCE`] for it. A login that is refused is looked up
    /// anew at once: its password may have just changed.
    async fn with_pool<T, F>(&self, operation: impl Fn(PgPool) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let refused = self.pool.current();
        match self.attempt(&operation).await {
            Err(error @ StoreError::NotPermitted { .. }) => {
                self.pool.reload().await;
                // Another page may have come first.
                if refused.is_closed() { self.attempt(&operation).await } else { Err(error) }
            }
            done => done,
        }
    }

    async fn attempt<T, F>(&self, operation: &impl Fn(PgPool) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // After a restart of Postgres every resting connection is dead: each is found out once. It may also be the pool
        // that was replaced.
        let trying = async {
            for _ in 0..self.connections {
                match operation(self.pool.current()).await {
                    Err(StoreError::Unavailable { .. }) => {}
                    done => return done,
                }
            }
            operation(self.pool.current()).await
        };
        self.within(PATIENCE, Box::pin(trying)).await
    }

    async fn within<T, E: From<StoreError>>(
        &self,
        limit: Duration,
        page: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let made = self.pool.run(limit, |_pool| page).await;
        made.unwrap_or_else(|| {
            let message = format!("no answer within {} s", limit.as_secs());
            Err(StoreError::Unavailable { message }.into())
        })
    }
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
        let database =
            Database::open(Mount::Directory(directory.clone()), Owner::Installation, PAGE_CONNECTIONS).unwrap();
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
