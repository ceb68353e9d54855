//! One query that says everything about a project.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, FromRow, Row, postgres::PgRow};

use super::{
    Admin, DeletionPolicy, Location, Partition, Phase, ProjectIdentity, ProjectRow, ProjectSettings, SchemaOwner,
    floods, ingest_pods, projects::project_id,
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// Everything the plan needs, from the catalog rows and from what Postgres itself knows. The owner of a database can write
/// anything there, of any length: no text is read beyond what the operator writes.
const OBSERVE: &str = "
SELECT
    p.project_id, left(p.namespace, 253) AS namespace, left(p.name, 253) AS name,
    left(p.namespace_uid, 64) AS namespace_uid, left(p.object_uid, 64) AS object_uid, left(p.state, 64) AS state,
    left(p.deletion_policy, 64) AS deletion_policy, left(p.display_name, 1000) AS display_name,
    left(p.platform, 1000) AS platform, left(p.database_secret, 253) AS database_secret, left(p.server, 1000) AS server,
    left(s.ingest::text, 1000000) AS ingest,
    p.schema_version, left(p.ingest_role, 64) AS ingest_role,
    substring(p.ingest_password_digest FOR 32) AS ingest_password_digest,
    n.oid IS NOT NULL AS schema_exists,
    left(obj_description(n.oid, 'pg_namespace'), 1000) AS schema_comment,
    coalesce(r.rolcanlogin, false) AS role_exists, r.rolconnlimit,
    (SELECT coalesce(array_agg(left(setting, 1000)), '{}') FROM unnest((r.rolconfig)[:50]) AS setting) AS rolconfig,
    p.ingest_pods, p.ingest_role_since,
    (SELECT max(k.last_used_at) FROM errortracking.client_keys AS k WHERE k.project_id = p.project_id) AS keys_used_at,
    ARRAY(
        SELECT DISTINCT left(k.endpoint, 600) FROM errortracking.client_keys AS k
        WHERE k.project_id = p.project_id AND k.revoked_at IS NULL AND k.endpoint IS NOT NULL ORDER BY 1 LIMIT 20
    ) AS endpoints,
    coalesce(
        has_database_privilege(r.oid, current_database(), 'CONNECT')
        AND has_schema_privilege(r.oid, 'errortracking', 'USAGE') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
        AND (
            SELECT count(DISTINCT f.proname) = 11 AND bool_and(has_function_privilege(r.oid, f.oid, 'EXECUTE'))
            FROM pg_proc AS f
            WHERE f.pronamespace = n.oid AND f.proname IN ('ingest', 'ingest_batch', 'ingest_regrouped', 'quarantine_event')
                OR f.pronamespace = 'errortracking'::regnamespace
                    AND f.proname IN (
                        'changed_keys', 'changed_settings', 'find_key', 'heartbeat', 'look_up_key', 'report', 'user_key'
                    )
        ),
        false
    ) AS grants_ok,
    l.froms, l.tos, d.flood_kinds, d.flood_limits, d.flood_sinces, d.floods_met
FROM errortracking.projects AS p
LEFT JOIN errortracking.settings AS s USING (project_id)
LEFT JOIN pg_namespace AS n ON n.nspname = 'project_' || p.project_id
LEFT JOIN pg_roles AS r ON r.rolname = p.ingest_role
CROSS JOIN LATERAL (
    SELECT array_agg(a.bound[1]::timestamptz) AS froms, array_agg(a.bound[2]::timestamptz) AS tos
    FROM (
        SELECT b.bound
        FROM pg_class AS parent
        JOIN pg_inherits AS i ON i.inhparent = parent.oid AND NOT i.inhdetachpending
        JOIN pg_class AS leaf ON leaf.oid = i.inhrelid
        CROSS JOIN LATERAL regexp_match(
            pg_get_expr(leaf.relpartbound, leaf.oid), $r$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$r$
        ) AS b (bound)
        WHERE parent.relnamespace = n.oid AND parent.relname = 'events'
        ORDER BY leaf.relname DESC LIMIT 10000
    ) AS a
) AS l
CROSS JOIN LATERAL (
    SELECT array_agg(left(f.kind, 64)) AS flood_kinds, array_agg(f.an_hour) AS flood_limits,
        array_agg(f.since) AS flood_sinces, array_agg(f.met) AS floods_met
    FROM (
        SELECT w.kind, w.an_hour, w.since, w.met FROM errortracking.floods AS w
        WHERE w.project_id = p.project_id AND w.last_at > clock_timestamp() - interval '1 hour' AND isfinite(w.since)
        LIMIT 20
    ) AS f
) AS d
";

/// A deleted project is found until its schema is dropped, and a living one first.
const BY_OBJECT: &str = "
WHERE p.object_uid = $1 AND (p.state <> 'deleted' OR p.schema_version > 0 OR n.oid IS NOT NULL)
ORDER BY p.state = 'deleted', p.project_id DESC LIMIT 1
";

impl Admin {
    /// `None`: the database knows no such project.
    pub async fn observe_project(&self, project: ProjectId) -> Result<Option<ProjectRow>, StoreError> {
        let by_number = format!("{OBSERVE} WHERE p.project_id = $1");
        self.observed(
            sqlx::query(AssertSqlSafe(by_number))
                .bind(project.as_i64())
                .fetch_optional(&mut *self.read().await?)
                .await?,
        )
    }

    /// By the uid of the `ErrorTrackingProject`. A deleted project is found until its schema is dropped.
    pub async fn observe_object(&self, object_uid: &str) -> Result<Option<ProjectRow>, StoreError> {
        let by_object = format!("{OBSERVE} {BY_OBJECT}");
        self.observed(
            sqlx::query(AssertSqlSafe(by_object)).bind(object_uid).fetch_optional(&mut *self.read().await?).await?,
        )
    }

    /// Number and place of the object's project, as the catalog has them; `None` when nothing of it can be left anywhere.
    /// A deleted project that was kept elsewhere is found until its location is taken out.
    pub async fn locate_object(&self, object_uid: &str) -> Result<Option<(ProjectId, Option<Location>)>, StoreError> {
        let found: Option<(i64, Option<String>, Option<String>)> = sqlx::query_as(
            "SELECT p.project_id, p.database_secret, p.server
             FROM errortracking.projects AS p LEFT JOIN pg_namespace AS n ON n.nspname = 'project_' || p.project_id
             WHERE p.object_uid = $1
                AND (p.state <> 'deleted' OR p.schema_version > 0 OR n.oid IS NOT NULL OR p.database_secret IS NOT NULL)
             ORDER BY p.state = 'deleted', p.project_id DESC LIMIT 1",
        )
        .bind(object_uid)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        let Some((id, secret, server)) = found else { return Ok(None) };
        let location = secret.zip(server).map(|(secret, server)| Location { secret, server });
        Ok(Some((project_id(id)?, location)))
    }

    /// Secrets of the databases where projects of this namespace and name are that were not retired.
    pub async fn secrets_of_projects(&self, namespace: &str, name: &str) -> Result<Vec<String>, StoreError> {
        let secrets: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT database_secret FROM errortracking.projects
             WHERE namespace = $1 AND name = $2 AND state = 'active' AND database_secret IS NOT NULL",
        )
        .bind(namespace)
        .bind(name)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(secrets.into_iter().map(|(secret,)| secret).collect())
    }

    fn observed(&self, row: Option<PgRow>) -> Result<Option<ProjectRow>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        let mut state = ProjectRow::from_row(&row)?;
        // The comment of the schema names the installation, which the row does not know.
        let comment: Option<String> = row.try_get("schema_comment")?;
        state.schema_owner = match (row.try_get("schema_exists")?, comment) {
            (false, _) => SchemaOwner::Absent,
            (true, Some(comment)) if comment == self.expected_comment(state.project_id) => SchemaOwner::Ours,
            (true, _) => SchemaOwner::Other,
        };
        // A login that the project shares is its owner's to set up.
        let ours = |role: &String| self.installation.ingest_roles(state.project_id).contains(role);
        if state.ingest_role.as_ref().is_some_and(ours) {
            state.login_current = ingest_pods::has_settings(&row.try_get::<Vec<String>, _>("rolconfig")?);
            state.connection_limit = row.try_get("rolconnlimit")?;
        }
        Ok(Some(state))
    }
}

impl FromRow<'_, PgRow> for ProjectRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let column = |name: &'static str| row.try_get::<String, _>(name);
        let decoded = |message: String| sqlx::Error::Decode(message.into());
        let digest: Option<Vec<u8>> = row.try_get("ingest_password_digest")?;
        let bounds = |name| row.try_get::<Option<Vec<Timestamptz>>, _>(name).map(Option::unwrap_or_default);
        let mut partitions: Vec<_> = bounds("froms")?
            .into_iter()
            .zip(bounds("tos")?)
            .map(|(from, to)| Partition { from: Timestamp::from(from), to: Timestamp::from(to) })
            .collect();
        partitions.sort();
        Ok(Self {
            project_id: project_id(row.try_get("project_id")?).map_err(|error| decoded(error.to_string()))?,
            identity: ProjectIdentity {
                namespace: column("namespace")?,
                name: column("name")?,
                namespace_uid: column("namespace_uid")?,
                object_uid: column("object_uid")?,
            },
            phase: Phase::from_column(&column("state")?),
            settings: settings(row)?,
            location: match (row.try_get("database_secret")?, row.try_get("server")?) {
                (Some(secret), Some(server)) => Some(Location { secret, server }),
                _ => None,
            },
            schema_owner: SchemaOwner::Absent,
            schema_version: row.try_get("schema_version")?,
            ingest_role: row.try_get("ingest_role")?,
            role_exists: row.try_get("role_exists")?,
            grants_ok: row.try_get("grants_ok")?,
            login_current: true,
            connection_limit: None,
            ingest_pods: row.try_get::<Option<i32>, _>("ingest_pods")?.and_then(|pods| u32::try_from(pods).ok()),
            login_since: row.try_get::<Option<Timestamptz>, _>("ingest_role_since")?.map(Timestamptz::to_jiff),
            endpoints: row.try_get("endpoints")?,
            keys_used_at: row.try_get::<Option<Timestamptz>, _>("keys_used_at")?.map(Timestamptz::to_jiff),
            floods: floods::of_row(row)?,
            password_digest: digest.and_then(|digest| digest.try_into().ok()),
            partitions,
        })
    }
}

/// `None`: not all of it can be read, as when somebody has edited it.
fn settings(row: &PgRow) -> Result<Option<ProjectSettings>, sqlx::Error> {
    let ingest: Option<String> = row.try_get("ingest")?;
    let Some(ingest) = ingest.and_then(|ingest| serde_json::from_str(&ingest).ok()) else { return Ok(None) };
    Ok(Some(ProjectSettings {
        deletion_policy: DeletionPolicy::from_column(row.try_get("deletion_policy")?),
        display_name: row.try_get("display_name")?,
        platform: row.try_get("platform")?,
        ingest,
    }))
}
