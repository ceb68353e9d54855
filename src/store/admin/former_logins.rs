//! Logins whose time is over. First nobody can use any of them any more, whatever comes of the rest; then they are
//! dropped. One that owns something in another database cannot be dropped from here: it stays without any right.

use std::{fmt::Write as _, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::{Instant, sleep};

use super::{Admin, projects::project_id, roles};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// Longest wait for sessions to end. Each is told at once; one that the server cannot end now must not hold up the rest.
const ENDING: Duration = Duration::from_secs(5);

/// A login of a project that exists.
#[derive(Debug)]
pub(super) struct ExistingLogin {
    pub name: String,
    /// Somebody can log in with it.
    pub enabled: bool,
}

/// A login that nobody can use any more and that could not be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftLogin {
    pub role: String,
    pub project_id: ProjectId,
    /// Other databases where it owns something, or was granted something.
    pub databases: Vec<String>,
}

impl Admin {
    /// Removes logins whose time is over, with their sessions; how many. Those that own something in another database
    /// are locked out and stay. What fails for one stops none of the others, and is returned at the end.
    pub async fn drop_former_logins(&self) -> Result<usize, StoreError> {
        let due: Vec<(i64, String)> = sqlx::query_as(
            "SELECT project_id, role FROM errortracking.former_logins WHERE valid_until < clock_timestamp()
             ORDER BY project_id, role",
        )
        .fetch_all(&mut *self.read().await?)
        .await?;
        let mut failed = None;
        let mut locked_out = Vec::new();
        for (id, role) in &due {
            match self.lock_out_former(project_id(*id)?, role).await {
                Ok(true) => locked_out.push(role.clone()),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        self.end_sessions(&locked_out).await?;
        let mut dropped = 0;
        for (id, role) in &due {
            match self.drop_former(project_id(*id)?, role).await {
                Ok(gone) => dropped += usize::from(gone),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(dropped),
        }
    }

    /// Whether it could be used until now.
    async fn lock_out_former(&self, project: ProjectId, role: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        let existing = self.existing_ingest_roles(&mut transaction, project).await?;
        let usable = existing.iter().any(|login| login.name == role && login.enabled);
        // It may be in use again since it was read.
        if !usable || !is_due(&mut transaction, role).await? {
            return Ok(false);
        }
        self.lock_out(&mut transaction, project, role).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether it is gone.
    async fn drop_former(&self, project: ProjectId, role: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        if !is_due(&mut transaction, role).await? || !drop_role(&mut transaction, role).await? {
            return Ok(false);
        }
        sqlx::query("DELETE FROM errortracking.former_logins WHERE role = $1")
            .bind(role)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Drops the logins of a project that nobody can use any more; which. Those that cannot be dropped now are tried
    /// again with [`Self::drop_former_logins`].
    pub(super) async fn drop_locked_logins(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
    ) -> Result<Vec<String>, StoreError> {
        let mut dropped = Vec::new();
        for login in self.existing_ingest_roles(transaction, project).await? {
            if drop_role(transaction, &login.name).await? {
                dropped.push(login.name);
                continue;
            }
            sqlx::query(
                "INSERT INTO errortracking.former_logins (role, project_id, valid_until) VALUES ($1, $2, now())
                 ON CONFLICT (role) DO UPDATE SET valid_until = least(former_logins.valid_until, excluded.valid_until)",
            )
            .bind(&login.name)
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("DELETE FROM errortracking.former_logins WHERE project_id = $1 AND role <> ALL ($2)")
            .bind(project.as_i64())
            .bind(
                self.existing_ingest_roles(transaction, project)
                    .await?
                    .into_iter()
                    .map(|login| login.name)
                    .collect::<Vec<_>>(),
            )
            .execute(transaction)
            .await?;
        Ok(dropped)
    }

    /// The logins of the project that exist.
    pub(super) async fn existing_ingest_roles(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
    ) -> Result<Vec<ExistingLogin>, StoreError> {
        let made: Vec<(String, bool)> =
            sqlx::query_as("SELECT rolname::text, rolcanlogin FROM pg_roles WHERE rolname = ANY ($1) ORDER BY rolname")
                .bind(self.installation.ingest_roles(project))
                .fetch_all(transaction)
                .await?;
        Ok(made.into_iter().map(|(name, enabled)| ExistingLogin { name, enabled }).collect())
    }

    /// From the end of the transaction on nobody can log in as the role, and it may do nothing in the sessions that it
    /// has: [`Self::end_sessions`] ends them.
    pub(super) async fn lock_out(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
        role: &str,
    ) -> Result<(), StoreError> {
        let group = self.installation.ingest_group();
        let mut statement = format!("ALTER ROLE {role} NOLOGIN PASSWORD NULL CONNECTION LIMIT 0");
        if roles::role_exists(transaction, &group).await? {
            let _ = write!(statement, "; REVOKE {group} FROM {role}");
        }
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
        self.revoke_ingest(transaction, project, role).await
    }

    /// A schema that is not there, not migrated yet or somebody else's has nothing to take away.
    async fn revoke_ingest(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
        role: &str,
    ) -> Result<(), StoreError> {
        if self.schema_comment(transaction, project).await? != Some(self.expected_comment(project)) {
            return Ok(());
        }
        let schema = project.schema();
        sqlx::raw_sql(AssertSqlSafe(format!("REVOKE USAGE ON SCHEMA {schema} FROM {role}")))
            .execute(&mut *transaction)
            .await?;
        for function in roles::INGEST_FUNCTIONS {
            let name = format!("{schema}.{function}");
            let (exists,): (bool,) =
                sqlx::query_as("SELECT to_regproc($1) IS NOT NULL").bind(&name).fetch_one(&mut *transaction).await?;
            if exists {
                let revoke = format!("REVOKE EXECUTE ON FUNCTION {name} FROM {role}");
                sqlx::raw_sql(AssertSqlSafe(revoke)).execute(&mut *transaction).await?;
            }
        }
        Ok(())
    }

    /// Ends all sessions of logins that nobody can use any more, and waits for it a while. They would go on for as long
    /// as they stay connected.
    pub(super) async fn end_sessions(&self, roles: &[String]) -> Result<(), StoreError> {
        if roles.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + ENDING;
        loop {
            // Of this leader, or of none; what is seen of sessions does not change within a transaction.
            let mut transaction = self.begin().await?;
            let left: Vec<(bool,)> =
                sqlx::query_as("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1)")
                    .bind(roles)
                    .fetch_all(&mut *transaction)
                    .await?;
            transaction.commit().await?;
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Logins of ours that nobody can use and that could not be dropped.
    pub async fn left_logins(&self) -> Result<Vec<LeftLogin>, StoreError> {
        let prefix = format!("et_{}_", self.installation);
        let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(
            "SELECT r.rolname::text, n.parts[1], ARRAY(
                SELECT DISTINCT d.datname::text FROM pg_shdepend AS s JOIN pg_database AS d ON d.oid = s.dbid
                WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND d.datname <> current_database()
                ORDER BY 1
             )
             FROM pg_roles AS r
             CROSS JOIN LATERAL regexp_match(r.rolname, '^' || $1 || '([0-9]+)_ingest(_[2-9])?$') AS n (parts)
             WHERE NOT r.rolcanlogin AND n.parts IS NOT NULL
             ORDER BY n.parts[1]::bigint, r.rolname",
        )
        .bind(prefix)
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.into_iter()
            .map(|(role, id, databases)| {
                Ok(LeftLogin { role, project_id: project_id(id.parse().unwrap_or(0))?, databases })
            })
            .collect()
    }
}

async fn is_due(transaction: &mut PgConnection, role: &str) -> Result<bool, StoreError> {
    let (due,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (
            SELECT FROM errortracking.former_logins WHERE role = $1 AND valid_until < clock_timestamp()
         )",
    )
    .bind(role)
    .fetch_one(transaction)
    .await?;
    Ok(due)
}

/// Drops a role that was locked out; whether it is gone. What it owns in another database keeps it.
async fn drop_role(transaction: &mut PgConnection, role: &str) -> Result<bool, StoreError> {
    if !roles::role_exists(transaction, role).await? {
        return Ok(true);
    }
    let (kept,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (
            SELECT FROM pg_shdepend AS s JOIN pg_database AS d ON d.oid = s.dbid
            WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1::regrole
                AND d.datname <> current_database()
         )",
    )
    .bind(role)
    .fetch_one(&mut *transaction)
    .await?;
    if kept {
        return Ok(false);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).execute(transaction).await?;
    Ok(true)
}
