//! First contact with a database: its version, our schema in it, and the claim to lead it.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction, postgres::PgArguments, query::Query,
};

use super::{Admin, InstallationId, LONGEST_TRANSACTION, Leader, ingest_pods, leader, rights};
use crate::{
    dsn::hex,
    store::{StoreError, migrations},
};

/// `server_version_num` of the oldest PostgreSQL we work with.
const OLDEST: i32 = 150_000;

/// How long a change waits for the lock of another one.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// When the server was started, and which database it is there.
pub(super) const INCARNATION: &str = "(
    SELECT pg_postmaster_start_time()::text || ' ' || oid FROM pg_database WHERE datname = current_database()
)";

/// A change whose process has stopped in the middle of it, and with it the lock that a newer leader waits for, is ended
/// by the server: before the lease of a frozen leader has run out.
const ABANDONED: Duration = Duration::from_secs(10);

/// Begins every transaction of the operator, in one round trip. Where PUBLIC may create in `public`, as in a database
/// that was made before Postgres 15, any login can put an operator or a function there that fits better than that of
/// Postgres, and would run with the rights of who names it. In the transaction, so that it holds behind a pooler too.
pub(in crate::store) const BEGIN: &str = "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp";

/// What the server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// As `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    /// `false`: an acknowledged event can be lost when the machine fails.
    pub fsync: bool,
    /// Whether a commit waits for a second server, so that events survive a failover.
    pub synchronous_standby: bool,
    /// Changes when the server is started anew and when the database is made anew, as by a restore.
    pub incarnation: String,
    /// Version of TLS of the link, as the server sees it; `None`: it is not encrypted.
    pub tls: Option<String>,
    /// Whether the login may create roles: `CloudNativePG`'s owner of a database may not.
    pub creates_roles: bool,
}

impl Admin {
    /// Migrates the schema `errortracking` and claims the database for `epoch` (the lease's transitions), whichever
    /// installation uses it. Refuses a server older than 15.
    pub async fn connect(pool: PgPool, epoch: i64) -> Result<Self, StoreError> {
        match Self::claim_database(&pool, epoch, None).await {
            Ok(admin) => Ok(admin),
            Err(error) => Err(rights::name_missing(&pool, error).await),
        }
    }

    /// As [`Self::connect`], for an installation that shares the database with no other:
    /// [`StoreError::LedByAnother`] while another one uses it, and nothing is changed then.
    pub async fn lead(pool: PgPool, epoch: i64, leader: Leader) -> Result<Self, StoreError> {
        match Self::claim_database(&pool, epoch, Some(leader)).await {
            Ok(admin) => Ok(admin),
            Err(error) => Err(rights::name_missing(&pool, error).await),
        }
    }

    /// Acts beside the leader, in the epoch that it has claimed. Makes and migrates nothing.
    pub async fn attach(pool: PgPool) -> Result<Self, StoreError> {
        let mut transaction = pool.begin_with(BEGIN).await?;
        let server = facts(&mut transaction).await?;
        let (installation, epoch): (String, i64) =
            sqlx::query_as("SELECT id, epoch FROM errortracking.installation").fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Self { pool, epoch, installation: InstallationId(installation), server, leader: None })
    }

    async fn claim_database(pool: &PgPool, epoch: i64, leader: Option<Leader>) -> Result<Self, StoreError> {
        let mut transaction = pool.begin_with(BEGIN).await?;
        let server = facts(&mut transaction).await?;
        sqlx::query("SELECT set_config('lock_timeout', $1, true)")
            .bind(format!("{}ms", LOCK_TIMEOUT.as_millis()))
            .execute(&mut *transaction)
            .await?;
        if let Err(error) = migrations::migrate_server(&mut transaction).await {
            drop(transaction);
            if error.waits_for_a_transaction() {
                // It may be a tenant's, who could keep the operator from ever being upgraded.
                let installation: Option<(String,)> = sqlx::query_as("SELECT id FROM errortracking.installation")
                    .fetch_optional(&mut *pool.begin_with(BEGIN).await?)
                    .await?;
                if let Some((id,)) = installation {
                    ingest_pods::end_transactions(pool, &InstallationId(id), LONGEST_TRANSACTION).await?;
                }
            }
            return Err(error);
        }
        if let Some(leader) = &leader {
            leader::record_leader(&mut transaction, leader).await?;
        }
        sqlx::query("INSERT INTO errortracking.installation (id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(hex(&rand::random::<[u8; 4]>()))
            .execute(&mut *transaction)
            .await?;
        let (installation,): (String,) =
            sqlx::query_as("SELECT id FROM errortracking.installation").fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        // On its own: the claim waits for changes of an older leader, which may wait for the lock held above.
        let installation = InstallationId(installation);
        let mut admin = Self { pool: pool.clone(), epoch, installation, server, leader };
        admin.claim(epoch).await?;
        Ok(admin)
    }

    /// Closes its connections, those in use as soon as they are given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Claims the database for a later epoch: what an older leader still sends is refused from now on.
    pub async fn claim(&mut self, epoch: i64) -> Result<(), StoreError> {
        let mut transaction = self.read().await?;
        fence(&mut transaction, epoch, LOCK_TIMEOUT).await?;
        transaction.commit().await?;
        self.epoch = epoch;
        Ok(())
    }

    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.installation
    }

    #[must_use]
    pub fn server(&self) -> &ServerFacts {
        &self.server
    }

    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// A transaction of the current leader.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.begin_waiting(LOCK_TIMEOUT).await
    }

    /// As [`Self::begin`], on a connection of the pool.
    pub(super) async fn begin_on<'a>(
        &self,
        connection: &'a mut PgConnection,
    ) -> Result<Transaction<'a, Postgres>, StoreError> {
        let mut transaction = connection.begin_with(BEGIN).await?;
        fence(&mut transaction, self.epoch, LOCK_TIMEOUT).await?;
        Ok(transaction)
    }

    /// As [`Self::begin`], for statements that must not wait long for a lock, because others queue behind them.
    pub(super) async fn begin_waiting(
        &self,
        lock_timeout: Duration,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.read().await?;
        fence(&mut transaction, self.epoch, lock_timeout).await?;
        Ok(transaction)
    }

    /// A change of one statement; how many rows it was.
    pub(super) async fn change(&self, statement: Query<'_, Postgres, PgArguments>) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let changed = statement.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(changed.rows_affected())
    }

    /// A transaction that changes nothing, so that it needs no leader. Dropped, it rolls back.
    pub(super) async fn read(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Ok(self.pool.begin_with(BEGIN).await?)
    }
}

/// The rest of the transaction belongs to a leader that is not older than any that was here, and no
/// statement of it waits longer than `lock_timeout` for another transaction.
async fn fence(transaction: &mut PgConnection, epoch: i64, lock_timeout: Duration) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT set_config('lock_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $3, true),
            errortracking.fence($1)",
    )
    .bind(epoch)
    .bind(format!("{}ms", lock_timeout.as_millis()))
    .bind(format!("{}ms", ABANDONED.as_millis()))
    .execute(transaction)
    .await?;
    Ok(())
}

type Facts = (i32, String, bool, bool, Option<String>, bool, String);

async fn facts(connection: &mut PgConnection) -> Result<ServerFacts, StoreError> {
    let (number, version, fsync, synchronous_standby, tls, creates_roles, incarnation): Facts =
        sqlx::query_as(AssertSqlSafe(format!(
            "SELECT
                current_setting('server_version_num')::integer,
                current_setting('server_version'),
                current_setting('fsync')::boolean,
                current_setting('synchronous_standby_names') <> '',
                (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),
                (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user),
                {INCARNATION}"
        )))
        .fetch_one(connection)
        .await?;
    if number < OLDEST {
        Err(StoreError::ServerTooOld { found: version })
    } else {
        Ok(ServerFacts { version, fsync, synchronous_standby, incarnation, tls, creates_roles })
    }
}
