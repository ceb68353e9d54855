//! Logins of ingest and console, with exactly what they need.
//!
//! What all ingest logins share hangs on a group: a list of privileges with a thousand logins on one
//! function would slow every call, and two GRANTs on one object at a time fail.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Admin, InstallationId, scram};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// What the console reads of a project's schema.
const CONSOLE_TABLES: [&str; 12] = [
    "events",
    "releases",
    "environments",
    "outcomes",
    "issues",
    "issue_counters",
    "issue_hashes",
    "issue_users",
    "issue_hours",
    "tag_keys",
    "issue_tags",
    "issue_activity",
];

impl Admin {
    /// The project's ingest login with this password; its name. Sessions that are open go on after a change.
    pub async fn ensure_ingest_role(&self, project: ProjectId, password: &SecretString) -> Result<String, StoreError> {
        let role = self.installation.ingest_role(project);
        let group = self.installation.ingest_group();
        let schema = project.schema();
        self.ensure_ingest_group().await?;

        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        let changed = sqlx::query(
            "UPDATE errortracking.projects SET ingest_role = $2, ingest_password_digest = $3
             WHERE project_id = $1 AND state = 'active'",
        )
        .bind(project.as_i64())
        .bind(&role)
        .bind(&password_digest(password)[..])
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(StoreError::UnknownProject(project));
        }
        ensure_login(&mut transaction, &role, password).await?;
        // Whatever the database's default is: `ingest_batch` must see what it waited for.
        let grants = format!(
            "ALTER ROLE {role} SET default_transaction_isolation = 'read committed';
             GRANT {group} TO {role};
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT EXECUTE ON FUNCTION {schema}.ingest_batch, {schema}.quarantine_event TO {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(role)
    }

    async fn ensure_ingest_group(&self) -> Result<(), StoreError> {
        let group = self.installation.ingest_group();
        let mut transaction = self.begin().await?;
        migrations::lock_installation(&mut transaction).await?;
        let (complete,): (bool,) = sqlx::query_as(
            "SELECT coalesce((
                SELECT
                    has_database_privilege(r.oid, current_database(), 'CONNECT')
                    AND has_schema_privilege(r.oid, 'errortracking', 'USAGE') AND bool_and(
                        has_function_privilege(r.oid, f.oid, 'EXECUTE')
                    )
                FROM pg_roles AS r, pg_proc AS f
                WHERE r.rolname = $1 AND f.pronamespace = 'errortracking'::regnamespace
                    AND f.proname IN ('changed_keys', 'find_key', 'heartbeat')
                GROUP BY r.oid
            ), false)",
        )
        .bind(&group)
        .fetch_one(&mut *transaction)
        .await?;
        if !complete {
            create_role(&mut transaction, &group, "NOLOGIN").await?;
            grant_connect(&mut transaction, &group).await?;
            let grants = format!(
                "GRANT USAGE ON SCHEMA errortracking TO {group};
                 GRANT EXECUTE ON FUNCTION errortracking.changed_keys, errortracking.find_key, errortracking.heartbeat
                 TO {group}"
            );
            sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The console's login with this password; its name. It reads and cannot write.
    pub async fn ensure_console_role(&self, password: &SecretString) -> Result<String, StoreError> {
        let role = self.installation.console_role();
        let mut transaction = self.begin().await?;
        migrations::lock_installation(&mut transaction).await?;
        ensure_login(&mut transaction, &role, password).await?;
        grant_connect(&mut transaction, &role).await?;
        let grants = format!(
            "ALTER ROLE {role} SET default_transaction_read_only = on;
             GRANT USAGE ON SCHEMA errortracking TO {role};
             GRANT SELECT ON errortracking.console_projects, errortracking.console_client_keys TO {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await?;
        let projects: Vec<(i64,)> = sqlx::query_as(
            "SELECT p.project_id FROM errortracking.projects AS p
             JOIN pg_namespace AS n ON n.nspname = 'project_' || p.project_id
             WHERE p.state <> 'deleted' AND p.schema_version > 0
                AND NOT has_schema_privilege($1, n.oid, 'USAGE')",
        )
        .bind(&role)
        .fetch_all(&mut *transaction)
        .await?;
        for (id,) in projects {
            grant_console(&mut transaction, &self.installation, super::projects::project_id(id)?).await?;
        }
        sqlx::query(
            "INSERT INTO errortracking.console_login (role, password_digest) VALUES ($1, $2)
             ON CONFLICT (role) DO UPDATE SET password_digest = excluded.password_digest",
        )
        .bind(&role)
        .bind(&password_digest(password)[..])
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(role)
    }

    /// SHA-256 of the password [`Self::ensure_console_role`] set last, if the role still exists.
    pub async fn console_password_digest(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let digest: Option<(Vec<u8>,)> = sqlx::query_as(
            "SELECT l.password_digest FROM errortracking.console_login AS l
             JOIN pg_roles AS r ON r.rolname = l.role AND r.rolcanlogin
             WHERE l.role = $1",
        )
        .bind(self.installation.console_role())
        .fetch_optional(&self.pool)
        .await?;
        Ok(digest.and_then(|(digest,)| digest.try_into().ok()))
    }
}

/// SHA-256 of a password, as [`super::ProjectState::password_digest`] shows it.
#[must_use]
pub fn password_digest(password: &SecretString) -> [u8; 32] {
    Sha256::digest(password.expose_secret().as_bytes()).into()
}

/// Lets the console's login read a project, if there is such a login yet.
pub(super) async fn grant_console(
    transaction: &mut PgConnection,
    installation: &InstallationId,
    project: ProjectId,
) -> Result<(), StoreError> {
    let role = installation.console_role();
    if !role_exists(transaction, &role).await? {
        return Ok(());
    }
    let schema = project.schema();
    let tables = CONSOLE_TABLES.map(|table| format!("{schema}.{table}")).join(", ");
    let grants = format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {tables} TO {role}");
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(transaction).await?;
    Ok(())
}

pub(super) async fn role_exists(transaction: &mut PgConnection, role: &str) -> Result<bool, StoreError> {
    let (exists,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(transaction)
        .await?;
    Ok(exists)
}

async fn ensure_login(transaction: &mut PgConnection, role: &str, password: &SecretString) -> Result<(), StoreError> {
    create_role(transaction, role, "LOGIN").await?;
    // Base64, digits and `$:-` only: nothing to quote.
    let verifier = scram::verifier(password, rand::random());
    let alter = format!("ALTER ROLE {role} LOGIN PASSWORD '{verifier}'");
    sqlx::raw_sql(AssertSqlSafe(alter)).execute(transaction).await?;
    Ok(())
}

/// Role names are ours alone: letters, digits and underscores.
async fn create_role(transaction: &mut PgConnection, role: &str, attribute: &str) -> Result<(), StoreError> {
    if !role_exists(transaction, role).await? {
        let create = format!("CREATE ROLE {role} {attribute}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await?;
    }
    // Who is no superuser may end a role's sessions and drop what it owns only as its member.
    let (member,): (bool,) =
        sqlx::query_as("SELECT pg_has_role(current_user, $1, 'USAGE')").bind(role).fetch_one(&mut *transaction).await?;
    if !member {
        let grant = format!("GRANT {role} TO CURRENT_USER");
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(transaction).await?;
    }
    Ok(())
}

async fn grant_connect(transaction: &mut PgConnection, role: &str) -> Result<(), StoreError> {
    let (grant,): (String,) =
        sqlx::query_as("SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1)")
            .bind(role)
            .fetch_one(&mut *transaction)
            .await?;
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(transaction).await?;
    Ok(())
}
