//! Logins of ingest and console, with exactly what they need.
//!
//! What all ingest logins share hangs on a group: a list of privileges with a thousand logins on one
//! function would slow every call, and two GRANTs on one object at a time fail.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Admin, InstallationId, ingest_pods, scram};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// How long the login before the last change of the password stays valid: until every kubelet has brought the new
/// Secret to its pods, which takes up to two minutes.
pub const FORMER_LOGIN_VALID: Duration = Duration::from_mins(5);

/// What the console reads of a project's schema.
const CONSOLE_TABLES: [&str; 21] = [
    "events",
    "releases",
    "environments",
    "outcomes",
    "issues",
    "issue_counters",
    "issue_hashes",
    "issue_users",
    "issue_hours",
    "issue_environments",
    "issue_environment_hours",
    "environments_since",
    "tag_keys",
    "issue_tags",
    "issue_activity",
    "issue_triage",
    "shown_issues",
    "sessions",
    "session_users",
    "user_feedback",
    "outcome_counts",
];

/// What the console calls in it. The first two act on issues, with the rights of their owner; the others read with those
/// of the console.
const CONSOLE_FUNCTIONS: [&str; 4] = ["act_on_issues", "undo_action", "outcomes_since", "release_health"];

/// What an ingest login calls in its project's schema. `ingest` and `ingest_batch` are what the versions before call.
pub(super) const INGEST_FUNCTIONS: [&str; 4] = ["ingest", "ingest_batch", "ingest_regrouped", "quarantine_event"];

/// How old a login is that becomes the project's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// Nobody had it before.
    New,
    /// Pods have it already.
    Known,
}

impl Admin {
    /// The project's ingest login with this password; its name. Another password than the one in use comes with
    /// another login, and the one before stays valid for [`FORMER_LOGIN_VALID`]: whoever has not seen the new one
    /// yet is not refused. Any that was to be valid longer ends now: who can change the Secret could have the sessions of
    /// nine logins otherwise.
    pub async fn ensure_ingest_role(&self, project: ProjectId, password: &SecretString) -> Result<String, StoreError> {
        let ensured = async {
            self.ensure_ingest_group().await?;
            let mut transaction = self.begin().await?;
            let (current, digest) = current_login(&mut transaction, project).await?;
            let ours = current.as_ref().is_some_and(|role| self.installation.ingest_roles(project).contains(role));
            let mut ended = Vec::new();
            let role = match &current {
                Some(role) if ours && digest.as_deref() == Some(&password_digest(password)[..]) => role.clone(),
                _ => {
                    ended = self.end_former_logins(&mut transaction, project).await?;
                    self.free_role(&mut transaction, project, current.as_deref()).await?
                }
            };
            ended.retain(|former| *former != role);
            self.set_login(&mut transaction, project, &role, password, Age::New).await?;
            transaction.commit().await?;
            self.end_sessions(&ended).await?;
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
            self.set_login(&mut transaction, project, role, password, Age::Known).await?;
            transaction.commit().await?;
            Ok(())
        };
        self.naming_missing_rights(restored.await).await
    }

    /// Writes down that ingest uses the operator's own login, because that one may not create roles.
    pub async fn share_login(&self, project: ProjectId, role: &str, password: &SecretString) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        current_login(&mut transaction, project).await?;
        self.record_login(&mut transaction, project, role, password, Age::New).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends the overlap of logins that have a successor already; their names.
    async fn end_former_logins(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
    ) -> Result<Vec<String>, StoreError> {
        let ended: Vec<(String,)> = sqlx::query_as(
            "UPDATE errortracking.former_logins SET valid_until = clock_timestamp()
             WHERE project_id = $1 AND valid_until > clock_timestamp()
                AND role IN (SELECT rolname FROM pg_roles WHERE rolname = ANY ($2))
             RETURNING role",
        )
        .bind(project.as_i64())
        .bind(self.installation.ingest_roles(project))
        .fetch_all(&mut *transaction)
        .await?;
        let ended: Vec<String> = ended.into_iter().map(|(role,)| role).collect();
        for role in &ended {
            self.lock_out(transaction, project, role).await?;
        }
        Ok(ended)
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
        age: Age,
    ) -> Result<(), StoreError> {
        self.record_login(transaction, project, role, password, age).await?;
        ensure_login(transaction, role, password).await?;
        ingest_pods::set_limits(transaction, project, role).await?;
        let (group, schema) = (self.installation.ingest_group(), project.schema());
        let functions = INGEST_FUNCTIONS.map(|function| format!("{schema}.{function}")).join(", ");
        let grants = format!(
            "GRANT {group} TO {role};
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
        age: Age,
    ) -> Result<(), StoreError> {
        // The successor of a login that comes back was never published: its time has come already.
        sqlx::query(
            "UPDATE errortracking.projects AS p
             SET ingest_role_since = CASE
                WHEN $3 AND EXISTS (SELECT FROM errortracking.former_logins AS f WHERE f.role = $2) THEN to_timestamp(0)
                ELSE clock_timestamp()
             END
             WHERE project_id = $1 AND ingest_role IS DISTINCT FROM $2",
        )
        .bind(project.as_i64())
        .bind(role)
        .bind(age == Age::Known)
        .execute(&mut *transaction)
        .await?;
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
        if ingest_group_is_complete(&mut *self.read().await?, &group).await? {
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
                    errortracking.find_key, errortracking.heartbeat, errortracking.look_up_key, errortracking.report,
                    errortracking.user_key
                 TO {group}"
            );
            sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The console's login with this password; its name. It reads, and writes only by functions: of its own sessions, and
    /// those that act on issues.
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
             ALTER ROLE {role} SET search_path = pg_catalog, pg_temp;
             GRANT EXECUTE ON FUNCTION errortracking.begin_session_once, errortracking.end_sessions_of,
                errortracking.make_api_token, errortracking.use_api_token, errortracking.api_tokens_of,
                errortracking.revoke_api_token TO {role};
             GRANT USAGE ON SCHEMA errortracking TO {role};
             GRANT SELECT ON errortracking.console_projects, errortracking.console_client_keys TO {role};
             GRANT EXECUTE ON FUNCTION errortracking.begin_session, errortracking.find_session, errortracking.end_session,
                errortracking.make_ticket, errortracking.ticket_user, errortracking.use_ticket TO {role}"
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

    /// SHA-256 of the password [`Self::ensure_console_role`] set last, if the role is still as this version makes it.
    pub async fn console_password_digest(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let digest: Option<(Vec<u8>,)> = sqlx::query_as(
            "SELECT l.password_digest FROM errortracking.console_login AS l
             JOIN pg_roles AS r ON r.rolname = l.role AND r.rolcanlogin
             WHERE l.role = $1 AND 'search_path=pg_catalog, pg_temp' = ANY (r.rolconfig)",
        )
        .bind(self.installation.console_role())
        .fetch_optional(&mut *self.read().await?)
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
    // A schema that is not migrated yet lacks some; its migration comes here again.
    let (grants,): (String,) = sqlx::query_as(
        "SELECT concat_ws('; ', format('GRANT USAGE ON SCHEMA %I TO %I', $1, $2), (
            SELECT string_agg(format('GRANT SELECT ON %s TO %I', c.oid::regclass, $2), '; ') FROM pg_class AS c
            WHERE c.relnamespace = $1::regnamespace AND c.relname = ANY ($3)
         ), (
            SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO %I', f.oid::regprocedure, $2), '; ')
            FROM pg_proc AS f WHERE f.pronamespace = $1::regnamespace AND f.proname = ANY ($4)
         ))",
    )
    .bind(&schema)
    .bind(&role)
    .bind(CONSOLE_TABLES)
    .bind(CONSOLE_FUNCTIONS)
    .fetch_one(&mut *transaction)
    .await?;
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
                AND f.proname IN (
                    'changed_keys', 'changed_settings', 'find_key', 'heartbeat', 'look_up_key', 'report', 'user_key'
                )
            GROUP BY r.oid
        ), false)",
    )
    .bind(group)
    .fetch_one(connection)
    .await?;
    Ok(complete)
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
