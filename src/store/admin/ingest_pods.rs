//! How much of a server the ingest login of a project may use: as many sessions as its pods need, and no more, because
//! who can read the login's Secret can log in with it too.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::{Admin, InstallationId, ProjectRow, server::BEGIN};
use crate::{
    dsn::ProjectId,
    store::{StoreError, ingest::CONNECTIONS_A_POD, migrations},
};

/// Pods that a rollout takes down at the same time at most, as far as they are counted: each goes on for up to 20 s after
/// its successor has become ready, which takes about five.
const LEAVING_PODS: u32 = 4;

/// What a session of an ingest login begins with, as `ALTER ROLE … SET` takes it. A session may change all of them but
/// [`TEMPORARY_FILES`]; they end what a pod leaves behind that has lost its network.
const SETTINGS: [(&str, &str); 6] = [
    // Whatever the database's default is: `ingest_batch` must see what it waited for.
    ("default_transaction_isolation", "'read committed'"),
    // As for the operator itself: another tenant's login may create in `public`.
    ("search_path", "pg_catalog, pg_temp"),
    // Ingest gives up after seconds, and retries.
    ("statement_timeout", "'30s'"),
    // As long as ingest waits for any answer: a session that it gave up on does not stay in the queue for a lock, beside
    // those that ask again.
    ("lock_timeout", "'5s'"),
    ("idle_in_transaction_session_timeout", "'10s'"),
    // Twice as long as a pool keeps a connection that nobody uses.
    ("idle_session_timeout", "'10min'"),
];
/// Ends a statement whose client is gone. Not every system can tell.
const CLIENT_CHECK: (&str, &str) = ("client_connection_check_interval", "'10s'");
/// Batches need none. Only a superuser, or who was granted it, may set this.
const TEMPORARY_FILES: (&str, &str) = ("temp_file_limit", "'64MB'");

/// No transaction of an ingest pod is as long: it gives up on a batch after seconds.
pub const LONGEST_TRANSACTION: Duration = Duration::from_mins(1);

/// What came of asking for pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodGrant {
    Granted,
    /// The other projects of the namespace have so many already.
    Refused {
        others: u32,
    },
}

/// Sessions that the login of so many pods may have: those of the pods themselves, and of the ones that leave in a
/// rollout. None without pods.
#[must_use]
pub fn connection_limit(pods: u32) -> u32 {
    CONNECTIONS_A_POD * pods.saturating_add(pods.min(LEAVING_PODS))
}

impl ProjectRow {
    /// Whether the login may have the sessions of so many pods, and no more.
    #[must_use]
    pub fn serves_pods(&self, pods: u32) -> bool {
        let limit = i32::try_from(connection_limit(pods)).unwrap_or(i32::MAX);
        self.ingest_pods == Some(pods) && self.connection_limit.is_none_or(|current| current == limit)
    }
}

impl Admin {
    /// Ends the sessions of ingest logins and of the console's whose transaction is older: locks that it holds keep
    /// migrations waiting, and those of the console ingest. How many.
    pub async fn end_transactions_older_than(&self, age: Duration) -> Result<u64, StoreError> {
        end_transactions(&self.pool, &self.installation, age).await
    }

    /// Lets the project have so many ingest pods, unless it would have more than now and the projects of its namespace
    /// in this database more than `most` together. What it has been given is in the catalog, where no tenant can write.
    pub async fn grant_pods(&self, project: ProjectId, pods: u32, most: Option<u32>) -> Result<PodGrant, StoreError> {
        let mut transaction = self.begin().await?;
        // Two projects must not be given the same room.
        if most.is_some() {
            migrations::lock_numbers(&mut transaction).await?;
        }
        migrations::lock_project(&mut transaction, project).await?;
        let row: Option<(Option<i32>, Option<String>, i64)> = sqlx::query_as(
            "SELECT p.ingest_pods, p.ingest_role, (
                SELECT coalesce(sum(o.ingest_pods), 0) FROM errortracking.projects AS o
                WHERE o.namespace_uid = p.namespace_uid AND o.state = 'active' AND o.project_id <> p.project_id
                    AND o.database_secret IS NULL
             )
             FROM errortracking.projects AS p WHERE p.project_id = $1 AND p.state = 'active'",
        )
        .bind(project.as_i64())
        .fetch_optional(&mut *transaction)
        .await?;
        let (granted, role, others) = row.ok_or(StoreError::UnknownProject(project))?;
        let granted = match (granted, &role) {
            (Some(granted), _) => u32::try_from(granted).unwrap_or(0),
            // Of the version before: who has more when the limit comes keeps them.
            (None, Some(_)) => u32::MAX,
            (None, None) => 0,
        };
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        if pods > granted && most.is_some_and(|most| others.saturating_add(pods) > most) {
            return Ok(PodGrant::Refused { others });
        }
        sqlx::query("UPDATE errortracking.projects SET ingest_pods = $2 WHERE project_id = $1")
            .bind(project.as_i64())
            .bind(i32::try_from(pods).unwrap_or(i32::MAX))
            .execute(&mut *transaction)
            .await?;
        for login in
            self.existing_ingest_roles(&mut transaction, project).await?.into_iter().filter(|login| login.enabled)
        {
            limit_connections(&mut transaction, &login.name, pods).await?;
        }
        transaction.commit().await?;
        Ok(PodGrant::Granted)
    }
}

pub(super) async fn end_transactions(
    pool: &PgPool,
    installation: &InstallationId,
    age: Duration,
) -> Result<u64, StoreError> {
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename ~ ('^et_' || $1 || '_([0-9]+_ingest(_[2-9])?|console)$')
            AND xact_start < clock_timestamp() - $2 * interval '1 second'",
    )
    .bind(installation.as_str())
    .bind(age.as_secs_f64())
    .execute(&mut *pool.begin_with(BEGIN).await?)
    .await?;
    Ok(ended.rows_affected())
}

/// Gives the login what its sessions begin with, and the limit of the project's pods. A project that nothing is known of
/// has no limit yet.
pub(super) async fn set_limits(
    transaction: &mut PgConnection,
    project: ProjectId,
    role: &str,
) -> Result<(), StoreError> {
    for setting in SETTINGS {
        set(transaction, role, setting).await?;
    }
    let mut attempt = transaction.begin().await?;
    match set(&mut attempt, role, CLIENT_CHECK).await {
        Ok(()) => attempt.commit().await?,
        Err(_) => attempt.rollback().await?,
    }
    let (name, _) = TEMPORARY_FILES;
    let (permitted,): (bool,) =
        sqlx::query_as("SELECT has_parameter_privilege($1, 'SET')").bind(name).fetch_one(&mut *transaction).await?;
    if permitted {
        set(transaction, role, TEMPORARY_FILES).await?;
    }
    let (pods,): (Option<i32>,) =
        sqlx::query_as("SELECT ingest_pods FROM errortracking.projects WHERE project_id = $1")
            .bind(project.as_i64())
            .fetch_one(&mut *transaction)
            .await?;
    if let Some(pods) = pods.and_then(|pods| u32::try_from(pods).ok()) {
        limit_connections(transaction, role, pods).await?;
    }
    Ok(())
}

async fn set(transaction: &mut PgConnection, role: &str, (name, value): (&str, &str)) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(format!("ALTER ROLE {role} SET {name} = {value}"))).execute(transaction).await?;
    Ok(())
}

async fn limit_connections(transaction: &mut PgConnection, role: &str, pods: u32) -> Result<(), StoreError> {
    let limit = format!("ALTER ROLE {role} CONNECTION LIMIT {}", connection_limit(pods));
    sqlx::raw_sql(AssertSqlSafe(limit)).execute(transaction).await?;
    Ok(())
}

/// Whether a login has the settings that this version gives it, by `rolconfig` of `pg_roles`.
pub(super) fn has_settings(rolconfig: &[String]) -> bool {
    SETTINGS.iter().all(|(name, value)| rolconfig.contains(&format!("{name}={}", value.trim_matches('\''))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_may_have_the_sessions_of_its_pods_and_of_those_that_leave() {
        for (pods, sessions) in [(0, 0), (1, 6), (2, 12), (4, 24), (10, 42), (100, 312)] {
            assert_eq!(connection_limit(pods), sessions, "{pods} pods");
        }
    }

    #[test]
    fn a_login_of_the_version_before_lacks_settings() {
        let current: Vec<String> =
            SETTINGS.iter().map(|(name, value)| format!("{name}={}", value.trim_matches('\''))).collect();
        assert!(has_settings(&current));
        assert!(!has_settings(&["default_transaction_isolation=read committed".to_owned()]));
    }
}
