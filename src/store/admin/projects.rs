//! Projects come into being: a row with an id, a schema, its migrations.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    Admin, DeletionPolicy, Location, ProjectIdentity, ProjectSettings,
    numbers::{raise_sequence, take_number},
    roles,
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, ingest::UserKey, migrations},
};

impl Admin {
    /// The id of the object's project; idempotent. A project that was left by a lost object of the same
    /// namespace (by uid) and name is taken over with its id. New ids are above `floor`, the largest credible id
    /// that any status names, and above every id this database ever gave out.
    pub async fn allocate_project(
        &self,
        identity: &ProjectIdentity,
        floor: Option<ProjectId>,
        deletion_policy: DeletionPolicy,
    ) -> Result<ProjectId, StoreError> {
        let mut transaction = self.begin().await?;
        // One at a time: the sequence is moved, and two objects must not take the same row over.
        migrations::lock_numbers(&mut transaction).await?;
        if let Some(project) = take_over(&mut transaction, identity, deletion_policy).await? {
            transaction.commit().await?;
            return Ok(project);
        }
        let project = take_number(&mut transaction, floor).await?;
        insert(&mut transaction, project, identity, deletion_policy).await?;
        transaction.commit().await?;
        Ok(project)
    }

    /// Puts the row of a project back whose id is known from a status, after a restore of an older backup.
    /// An id that somebody else has by now is a [`StoreError::SchemaMismatch`].
    pub async fn restore_project(
        &self,
        project: ProjectId,
        identity: &ProjectIdentity,
        deletion_policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_numbers(&mut transaction).await?;
        match take_over(&mut transaction, identity, deletion_policy).await? {
            Some(found) if found == project => {}
            Some(found) => {
                return Err(StoreError::SchemaMismatch {
                    object: format!("{}/{}", identity.namespace, identity.name),
                    owner: format!("project {found}"),
                });
            }
            None => {
                let (taken,): (bool,) =
                    sqlx::query_as("SELECT EXISTS (SELECT FROM errortracking.projects WHERE project_id = $1)")
                        .bind(project.as_i64())
                        .fetch_one(&mut *transaction)
                        .await?;
                if taken {
                    // Whose it is, is nothing for the people of another namespace.
                    let owner = "another ErrorTrackingProject".to_owned();
                    return Err(StoreError::SchemaMismatch { object: format!("project {project}"), owner });
                }
                raise_sequence(&mut transaction, Some(project)).await?;
                insert(&mut transaction, project, identity, deletion_policy).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The project of this object, or the one that a lost object of the same namespace (by uid) and name left.
    pub async fn find_project(&self, identity: &ProjectIdentity) -> Result<Option<ProjectId>, StoreError> {
        let found: Option<(i64,)> = sqlx::query_as(
            "SELECT project_id FROM errortracking.projects
             WHERE state <> 'deleted' AND (object_uid = $3 OR (namespace_uid = $1 AND name = $2))
             ORDER BY object_uid = $3 DESC LIMIT 1",
        )
        .bind(&identity.namespace_uid)
        .bind(&identity.name)
        .bind(&identity.object_uid)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        found.map(|(id,)| project_id(id)).transpose()
    }

    /// Whether the object can have had this number: it has it, or the number was given out once and nobody has it. What
    /// another database says is no reason to use numbers up, or to take one from somebody.
    pub async fn may_have_number(&self, project: ProjectId, identity: &ProjectIdentity) -> Result<bool, StoreError> {
        let (may,): (bool,) = sqlx::query_as(
            "SELECT CASE
                WHEN EXISTS (
                    SELECT FROM errortracking.projects
                    WHERE state <> 'deleted' AND (object_uid = $4 OR (namespace_uid = $2 AND name = $3))
                ) THEN EXISTS (
                    SELECT FROM errortracking.projects
                    WHERE project_id = $1 AND state <> 'deleted'
                        AND (object_uid = $4 OR (namespace_uid = $2 AND name = $3))
                )
                ELSE (SELECT is_called AND $1 <= last_value FROM errortracking.project_ids)
                    AND NOT EXISTS (SELECT FROM errortracking.projects WHERE project_id = $1)
             END",
        )
        .bind(project.as_i64())
        .bind(&identity.namespace_uid)
        .bind(&identity.name)
        .bind(&identity.object_uid)
        .fetch_one(&mut *self.read().await?)
        .await?;
        Ok(may)
    }

    /// Takes the number away from the object that has it here, where the catalog gives it another one: nobody can send
    /// with it any more, and what is stored under it stays.
    pub async fn release_number(&self, project: ProjectId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        for statement in [
            "UPDATE errortracking.client_keys SET revoked_at = now() WHERE project_id = $1 AND revoked_at IS NULL",
            "UPDATE errortracking.projects
             SET state = 'deleted', deleted_at = now(), ingest_role = NULL, ingest_password_digest = NULL
             WHERE project_id = $1 AND state <> 'deleted'",
        ] {
            sqlx::query(statement).bind(project.as_i64()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Writes down on which server the project is kept; `None`: on this one.
    pub async fn record_location(&self, project: ProjectId, location: Option<&Location>) -> Result<(), StoreError> {
        let change =
            sqlx::query("UPDATE errortracking.projects SET database_secret = $2, server = $3 WHERE project_id = $1")
                .bind(project.as_i64())
                .bind(location.map(|location| &location.secret))
                .bind(location.map(|location| &location.server));
        self.change(change).await?;
        Ok(())
    }

    /// Writes down what the database keeps of the object's spec. Ingest hears of it when its part has changed.
    pub async fn record_settings(&self, project: ProjectId, settings: &ProjectSettings) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.projects SET deletion_policy = $2, display_name = $3, platform = $4
             WHERE project_id = $1",
        )
        .bind(project.as_i64())
        .bind(settings.deletion_policy.as_str())
        .bind(&settings.display_name)
        .bind(&settings.platform)
        .execute(&mut *transaction)
        .await?;
        let ingest = serde_json::to_string(&settings.ingest)
            .map_err(|error| StoreError::Other { message: error.to_string(), sqlstate: None })?;
        // A trigger raises the version.
        sqlx::query(
            "INSERT INTO errortracking.settings AS s (project_id, version, ingest)
             SELECT project_id, extract(epoch FROM clock_timestamp()) * 1000000, $2::jsonb
             FROM errortracking.projects WHERE project_id = $1
             ON CONFLICT (project_id) DO UPDATE SET ingest = excluded.ingest WHERE s.ingest <> excluded.ingest",
        )
        .bind(project.as_i64())
        .bind(ingest)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Creates the project's schema if it is not there and brings it to the version this program knows.
    /// A schema that another installation or project made is a [`StoreError::SchemaMismatch`].
    pub async fn migrate_project(&self, project: ProjectId) -> Result<(), StoreError> {
        let migrated = self.migrate(project).await;
        self.naming_missing_rights(migrated).await
    }

    /// What a connection has seen of the catalogue stays in the memory of its server process: about a megabyte for each
    /// schema that it made. Such a connection ends, and the pool opens another one.
    async fn migrate(&self, project: ProjectId) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        if self.migrate_by(&mut connection, project).await? {
            // The migration is committed, whatever becomes of the farewell.
            let _ = connection.close().await;
        }
        Ok(())
    }

    /// Whether anything had to be changed.
    async fn migrate_by(&self, connection: &mut PgConnection, project: ProjectId) -> Result<bool, StoreError> {
        let schema = project.schema();
        let mut transaction = self.begin_on(connection).await?;
        // The console's login may be made at the same time: one of the two must see the other.
        migrations::share_installation(&mut transaction).await?;
        migrations::lock_project(&mut transaction, project).await?;
        let version: Option<(i32,)> = sqlx::query_as(
            "SELECT schema_version FROM errortracking.projects WHERE project_id = $1 AND state = 'active'",
        )
        .bind(project.as_i64())
        .fetch_optional(&mut *transaction)
        .await?;
        let (version,) = version.ok_or(StoreError::UnknownProject(project))?;
        let version = match self.schema_comment(&mut transaction, project).await? {
            None => {
                // The comment is ours alone: hex digits and a number.
                let create = format!(
                    "CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS '{}'",
                    self.expected_comment(project)
                );
                sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await?;
                0
            }
            Some(comment) if comment == self.expected_comment(project) => version,
            Some(owner) => return Err(StoreError::SchemaMismatch { object: format!("schema {schema}"), owner }),
        };
        let migrated = migrations::migrate_project(&mut transaction, project, version).await?;
        if let Some(version) = migrated {
            sqlx::query("UPDATE errortracking.projects SET schema_version = $2 WHERE project_id = $1")
                .bind(project.as_i64())
                .bind(version)
                .execute(&mut *transaction)
                .await?;
            roles::grant_console(&mut transaction, &self.installation, project).await?;
        }
        transaction.commit().await?;
        Ok(migrated.is_some())
    }

    /// The version of a project's schema after [`Self::migrate_project`].
    #[must_use]
    pub fn project_schema_version() -> i32 {
        migrations::PROJECT_VERSION
    }

    /// What the schema of a project of ours is commented with.
    pub(super) fn expected_comment(&self, project: ProjectId) -> String {
        format!("{}{project}", self.comment_without_project())
    }

    pub(super) fn comment_without_project(&self) -> String {
        format!("errortracking installation {} project ", self.installation)
    }

    /// The comment of the project's schema; `None` if there is no such schema.
    pub(super) async fn schema_comment(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
    ) -> Result<Option<String>, StoreError> {
        let comment: Option<(String,)> = sqlx::query_as(
            "SELECT coalesce(obj_description(oid, 'pg_namespace'), 'somebody else')
             FROM pg_namespace WHERE nspname = $1",
        )
        .bind(project.schema())
        .fetch_optional(transaction)
        .await?;
        Ok(comment.map(|(comment,)| comment))
    }
}

/// The project of this object, or of this namespace and name; the row is the object's from now on.
async fn take_over(
    transaction: &mut PgConnection,
    identity: &ProjectIdentity,
    deletion_policy: DeletionPolicy,
) -> Result<Option<ProjectId>, StoreError> {
    let found: Option<(i64, bool)> = sqlx::query_as(
        "SELECT project_id, state = 'active' AND object_uid = $3 AND namespace = $4 AND deletion_policy = $5
         FROM errortracking.projects
         WHERE state <> 'deleted' AND (object_uid = $3 OR (namespace_uid = $1 AND name = $2))
         ORDER BY object_uid = $3 DESC LIMIT 1 FOR UPDATE",
    )
    .bind(&identity.namespace_uid)
    .bind(&identity.name)
    .bind(&identity.object_uid)
    .bind(&identity.namespace)
    .bind(deletion_policy.as_str())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((id, current)) = found else { return Ok(None) };
    if !current {
        sqlx::query(
            "UPDATE errortracking.projects
             SET state = 'active', deleted_at = NULL, object_uid = $2, namespace = $3, deletion_policy = $4
             WHERE project_id = $1",
        )
        .bind(id)
        .bind(&identity.object_uid)
        .bind(&identity.namespace)
        .bind(deletion_policy.as_str())
        .execute(&mut *transaction)
        .await?;
    }
    project_id(id).map(Some)
}

async fn insert(
    transaction: &mut PgConnection,
    project: ProjectId,
    identity: &ProjectIdentity,
    deletion_policy: DeletionPolicy,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO errortracking.projects (
            project_id, namespace, name, namespace_uid, object_uid, deletion_policy, user_key
         ) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(project.as_i64())
    .bind(&identity.namespace)
    .bind(&identity.name)
    .bind(&identity.namespace_uid)
    .bind(&identity.object_uid)
    .bind(deletion_policy.as_str())
    .bind(&rand::random::<[u8; UserKey::BYTES]>()[..])
    .execute(&mut *transaction)
    .await?;
    // Ingest starts with a version, also before there is a key.
    sqlx::query(
        "INSERT INTO errortracking.settings (project_id, version)
         VALUES ($1, extract(epoch FROM clock_timestamp()) * 1000000)",
    )
    .bind(project.as_i64())
    .execute(transaction)
    .await?;
    Ok(())
}

/// An id as a row has it.
pub(super) fn project_id(id: i64) -> Result<ProjectId, StoreError> {
    ProjectId::try_from(id)
        .map_err(|error| StoreError::Other { message: format!("project {id}: {error}"), sqlstate: None })
}
