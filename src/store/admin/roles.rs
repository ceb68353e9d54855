//! Logins of ingest and console, with exactly what they need.
//!
//! What all ingest logins share hangs on a group: a list of privileges with a thousand logins on one
//! function would slow every call, and two GRANTs on one object at a time fail.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Admin, InstallationId, scram};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// How long the login before the last change of the password stays valid: until every kubelet has brought the new
/// Secret to its pods, which takes up to two minutes.
pub const FORMER_LOGIN_VALID: Duration = Duration::from_mins(5);

/// What the console reads of a project's schema.
const CONSOLE_TABLES: [&str; 16] = [
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
    "sessions",
    "session_users",
    "user_feedback",
    "outcome_counts",
];

/// What the console calls in it; they read with its own rights.
const CONSOLE_FUNCTIONS: [&str; 2] = ["outcomes_since", "release_health"];

/// What an ingest login calls in its project's schema. `ingest_batch` is what the version before calls.
pub(super) const INGEST_FUNCTIONS: [&str; 3] = ["ingest", "ingest_batch", "quarantine_event"];

impl Admin {
    /// The project's ingest login with this password; its name. Another password than the one in use comes with
    /// another login, and the one before stays valid for [`FORMER_LOGIN_VALID`]: whoever has not seen the new one
    /// yet is not refused.
    pub async fn ensure_ingest_role(&self, project: ProjectId, password: &SecretString) -> Result<String, StoreError> {
        let ensured = async {
            self.ensure_ingest_group().await?;
            let mut transaction = self.begin().await?;
            let (current, digest) = current_login(&mut transaction, project).await?;
            let ours = current.as_ref().is_some_and(|role| self.installation.ingest_roles(project).contains(role));
            let role = match &current {
                Some(role) if ours && digest.as_deref() == Some(&password_digest(password)[..]) => role.clone(),
                _ => self.free_role(&mut transaction, project, current.as_deref()).await?,
            };
            self.set_login(&mut transaction, project, &role, password).await?;
            transaction.commit().await?;
            Ok(role)
        };
        self.naming_missing_rights(ensured.await).await
    }

    /// Makes a login valid again that the database has forgotten, or knows with an older password, after a restore
    /// of an older backup: pods have it from their Secret. `role` is one of [`super::InstallationId::ingest_roles`].
    pub async fn restore_ingest_role(
        &self,
        project: ProjectId,
        role: &str,
        password: &SecretString,
    ) -> Result<(), StoreError> {
        let restored = async {
            if !self.installation.ingest_roles(project).iter().any(|name| name == role) {
                let object = format!("login {role}");
                return Err(StoreError::SchemaMismatch { object, owner: "somebody else".into() });
            }
            self.ensure_ingest_group().await?;
            let mut transaction = self.begin().await?;
            current_login(&mut transaction, project).await?;
            self.set_login(&mut transaction, project, role, password).await?;
            transaction.commit().await?;
            Ok(())
        };
        self.naming_missing_rights(restored.await).await
    }

    /// Writes down that ingest uses the operator's own login, because that one may not create roles.
    pub async fn share_login(&self, project: ProjectId, role: &str, password: &SecretString) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        current_login(&mut transaction, project).await?;
        self.record_login(&mut transaction, project, role, password).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes logins whose time is over, with their sessions; how many.
    pub async fn drop_former_logins(&self) -> Result<usize, StoreError> {
        let due: Vec<(i64, String)> = sqlx::query_as(
            "SELECT project_id, role FROM errortracking.former_logins WHERE valid_until < clock_timestamp()",
        )
        .fetch_all(&self.pool)
        .await?;
        for (id, role) in &due {
            let project = super::projects::project_id(*id)?;
            let mut transaction = self.begin().await?;
            migrations::lock_project(&mut transaction, project).await?;
            // In use again since it was read, or gone.
            let due: Option<(String,)> = sqlx::query_as(
                "SELECT role FROM errortracking.former_logins WHERE role = $1 AND valid_until < clock_timestamp()",
            )
            .bind(role)
            .fetch_optional(&mut *transaction)
            .await?;
            if due.is_none() {
                continue;
            }
            lock_out(&mut transaction, role).await?;
            // Nobody comes back between the end of the sessions and that of the role.
            transaction.commit().await?;
            let mut transaction = self.begin().await?;
            migrations::lock_project(&mut transaction, project).await?;
            drop_role(&mut transaction, role).await?;
            sqlx::query("DELETE FROM errortracking.former_logins WHERE role = $1")
                .bind(role)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        Ok(due.len())
    }

    /// The first name that no login of the project has; when all are taken, the one that has been out of use longest.
    async fn free_role(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
        current: Option<&str>,
    ) -> Result<String, StoreError> {
        let (role,): (String,) = sqlx::query_as(
            "SELECT n.role FROM unnest($1) WITH ORDINALITY AS n (role, position)
             LEFT JOIN errortracking.former_logins AS f ON f.role = n.role
             WHERE n.role IS DISTINCT FROM $2
             ORDER BY f.valid_until NULLS FIRST, n.position LIMIT 1",
        )
        .bind(self.installation.ingest_roles(project))
        .bind(current)
        .fetch_one(transaction)
        .await?;
        Ok(role)
    }

    /// Makes `role` the project's login. The caller holds the project's lock.
    async fn set_login(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
        role: &str,
        password: &SecretString,
    ) -> Result<(), StoreError> {
        self.record_login(transaction, project, role, password).await?;
        ensure_login(transaction, role, password).await?;
        let (group, schema) = (self.installation.ingest_group(), project.schema());
        let functions = INGEST_FUNCTIONS.map(|function| format!("{schema}.{function}")).join(", ");
        // Whatever the database's default is: `ingest_batch` must see what it waited for.
        let grants = format!(
            "ALTER ROLE {role} SET default_transaction_isolation = 'read committed';
             GRANT {group} TO {role};
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT EXECUTE ON FUNCTION {functions} TO {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(grants)).execute(transaction).await?;
        Ok(())
    }

    async fn record_login(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
        role: &str,
        password: &SecretString,
    ) -> Result<(), StoreError> {
        // Of the logins before only those are ours to remove that we made.
        sqlx::query(
            "INSERT INTO errortracking.former_logins (role, project_id, valid_until)
             SELECT ingest_role, project_id, clock_timestamp() + $4 * interval '1 second' FROM errortracking.projects
             WHERE project_id = $1 AND ingest_role <> $2 AND ingest_role = ANY ($3)
             ON CONFLICT (role) DO UPDATE SET valid_until = excluded.valid_until",
        )
        .bind(project.as_i64())
        .bind(role)
        .bind(self.installation.ingest_roles(project))
        .bind(FORMER_LOGIN_VALID.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM errortracking.former_logins WHERE role = $1")
            .bind(role)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE errortracking.projects SET ingest_role = $2, ingest_password_digest = $3 WHERE project_id = $1",
        )
        .bind(project.as_i64())
        .bind(role)
        .bind(&password_digest(password)[..])
        .execute(transaction)
        .await?;
        Ok(())
    }

    /// The group with the rights that all ingest logins share. Looked for without a lock first: a thousand projects
    /// must not queue for what is there.
    async fn ensure_ingest_group(&self) -> Result<(), StoreError> {
        let group = self.installation.ingest_group();
        if ingest_group_is_complete(&mut *self.pool.acquire().await?, &group).await? {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        migrations::lock_installation(&mut transaction).await?;
        if !ingest_group_is_complete(&mut transaction, &group).await? {
            create_role(&mut transaction, &group, "NOLOGIN").await?;
            grant_connect(&mut transaction, &group).await?;
            let grants = format!(
                "GRANT USAGE ON SCHEMA errortracking TO {group};
                 GRANT EXECUTE ON FUNCTION errortracking.changed_keys, errortracking.changed_settings,
                    errortracking.find_key, errortracking.heartbeat
                 TO {group}"
            );
            sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The console's login with this password; its name. It reads and cannot write.
    pub async fn ensure_console_role(&self, password: &SecretString) -> Result<String, StoreError> {
        let ensured = self.make_console_role(password).await;
        self.naming_missing_rights(ensured).await
    }

    async fn make_console_role(&self, password: &SecretString) -> Result<String, StoreError> {
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

/// SHA-256 of a password, as [`super::ProjectRow::password_digest`] shows it.
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
    let functions = CONSOLE_FUNCTIONS.map(|function| format!("{schema}.{function}")).join(", ");
    let grants = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON {tables} TO {role};
         GRANT EXECUTE ON FUNCTION {functions} TO {role}"
    );
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

/// Name and digest of the login of an active project, which is locked until the end of the transaction.
async fn current_login(
    transaction: &mut PgConnection,
    project: ProjectId,
) -> Result<(Option<String>, Option<Vec<u8>>), StoreError> {
    migrations::lock_project(transaction, project).await?;
    let login = sqlx::query_as(
        "SELECT ingest_role, ingest_password_digest FROM errortracking.projects
         WHERE project_id = $1 AND state = 'active'",
    )
    .bind(project.as_i64())
    .fetch_optional(transaction)
    .await?;
    login.ok_or(StoreError::UnknownProject(project))
}

async fn ingest_group_is_complete(connection: &mut PgConnection, group: &str) -> Result<bool, StoreError> {
    let (complete,): (bool,) = sqlx::query_as(
        "SELECT coalesce((
            SELECT
                has_database_privilege(r.oid, current_database(), 'CONNECT')
                AND has_schema_privilege(r.oid, 'errortracking', 'USAGE') AND bool_and(
                    has_function_privilege(r.oid, f.oid, 'EXECUTE')
                )
            FROM pg_roles AS r, pg_proc AS f
            WHERE r.rolname = $1 AND f.pronamespace = 'errortracking'::regnamespace
                AND f.proname IN ('changed_keys', 'changed_settings', 'find_key', 'heartbeat')
            GROUP BY r.oid
        ), false)",
    )
    .bind(group)
    .fetch_one(connection)
    .await?;
    Ok(complete)
}

/// From the end of the transaction on nobody can log in as the role.
pub(super) async fn lock_out(transaction: &mut PgConnection, role: &str) -> Result<(), StoreError> {
    if role_exists(transaction, role).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("ALTER ROLE {role} NOLOGIN"))).execute(transaction).await?;
    }
    Ok(())
}

/// Ends the role's sessions, which would go on with what they may do for as long as they stay connected, and drops it.
pub(super) async fn drop_role(transaction: &mut PgConnection, role: &str) -> Result<(), StoreError> {
    if role_exists(transaction, role).await? {
        sqlx::query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1")
            .bind(role)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).execute(transaction).await?;
    }
    Ok(())
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
