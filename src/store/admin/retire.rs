//! A project goes: keys, login and, if asked, its schema.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::{Admin, DeletionPolicy, Phase};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// Tables of a project in which something is of use to people.
const STORED: [&str; 5] = ["events", "issues", "quarantine", "sessions", "user_feedback"];

impl Admin {
    /// Revokes the keys, removes the login with its sessions and, with `Delete` or where nothing was ever stored, drops the
    /// schema. Repeating it finishes what is left; an unknown project is gone already. What was done with the schema.
    pub async fn retire_project(
        &self,
        project: ProjectId,
        policy: DeletionPolicy,
    ) -> Result<DeletionPolicy, StoreError> {
        self.retire(project, None, policy).await
    }

    /// As [`Self::retire_project`], while the project is the object's: a new object of its name may have taken it over.
    pub async fn retire_project_of(
        &self,
        project: ProjectId,
        object_uid: &str,
        policy: DeletionPolicy,
    ) -> Result<DeletionPolicy, StoreError> {
        self.retire(project, Some(object_uid), policy).await
    }

    async fn retire(
        &self,
        project: ProjectId,
        object_uid: Option<&str>,
        policy: DeletionPolicy,
    ) -> Result<DeletionPolicy, StoreError> {
        let retired = async {
            let locked_out = self.close_project(project, object_uid, policy).await?;
            self.end_sessions(&locked_out).await?;
            let done = match policy {
                DeletionPolicy::Delete => {
                    self.drop_schema(project, object_uid).await?;
                    DeletionPolicy::Delete
                }
                DeletionPolicy::Retain if self.drop_empty(project, object_uid).await? => DeletionPolicy::Delete,
                DeletionPolicy::Retain => DeletionPolicy::Retain,
            };
            self.drop_ingest_roles(project, object_uid).await?;
            Ok(done)
        };
        self.naming_missing_rights(retired.await).await
    }

    /// A transaction with the project's lock and its row; `None` when the project is not the object's any more.
    async fn begin_for(
        &self,
        project: ProjectId,
        object_uid: Option<&str>,
    ) -> Result<Option<Transaction<'static, Postgres>>, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        if let Some(object_uid) = object_uid {
            let still: Option<(bool,)> = sqlx::query_as(
                "SELECT object_uid = $2 FROM errortracking.projects WHERE project_id = $1 FOR NO KEY UPDATE",
            )
            .bind(project.as_i64())
            .bind(object_uid)
            .fetch_optional(&mut *transaction)
            .await?;
            if still != Some((true,)) {
                return Ok(None);
            }
        }
        Ok(Some(transaction))
    }

    /// From here on nobody can log in or send with a key, whatever happens to the rest: pods that are still
    /// connected know the keys from before, but what they send is not taken. The logins that there are.
    async fn close_project(
        &self,
        project: ProjectId,
        object_uid: Option<&str>,
        policy: DeletionPolicy,
    ) -> Result<Vec<String>, StoreError> {
        let phase = match policy {
            DeletionPolicy::Retain => Phase::Retained,
            DeletionPolicy::Delete => Phase::Deleted,
        };
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(Vec::new()) };
        sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE project_id = $1 AND revoked_at IS NULL",
        )
        .bind(project.as_i64())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE errortracking.projects
             SET state = $2, deletion_policy = $3, deleted_at = now(),
                ingest_role = NULL, ingest_password_digest = NULL, ingest_pods = NULL
             WHERE project_id = $1 AND state NOT IN ('deleted', $2)",
        )
        .bind(project.as_i64())
        .bind(phase.as_str())
        .bind(policy.as_str())
        .execute(&mut *transaction)
        .await?;
        // A login that the project shared with the operator is none of these, and stays.
        let mut locked_out = Vec::new();
        for login in self.existing_ingest_roles(&mut transaction, project).await? {
            self.lock_out(&mut transaction, project, &login.name).await?;
            locked_out.push(login.name);
        }
        transaction.commit().await?;
        Ok(locked_out)
    }

    /// The roles that were dropped. One that owns something in another database stays, and holds nothing up.
    async fn drop_ingest_roles(&self, project: ProjectId, object_uid: Option<&str>) -> Result<Vec<String>, StoreError> {
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(Vec::new()) };
        let dropped = self.drop_locked_logins(&mut transaction, project).await?;
        transaction.commit().await?;
        Ok(dropped)
    }

    async fn drop_schema(&self, project: ProjectId, object_uid: Option<&str>) -> Result<(), StoreError> {
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(()) };
        self.drop_own_schema(&mut transaction, project).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drops a retained project of this database in which nothing was ever stored: without that, who creates and deletes
    /// projects again and again leaves a schema for each. Nobody can store anything any more when this is called.
    async fn drop_empty(&self, project: ProjectId, object_uid: Option<&str>) -> Result<bool, StoreError> {
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(false) };
        let retained: Option<(bool,)> = sqlx::query_as(
            "SELECT state = 'retained' AND database_secret IS NULL FROM errortracking.projects WHERE project_id = $1",
        )
        .bind(project.as_i64())
        .fetch_optional(&mut *transaction)
        .await?;
        match self.schema_comment(&mut transaction, project).await? {
            Some(comment) if comment != self.expected_comment(project) => return Ok(false),
            _ if retained != Some((true,)) => return Ok(false),
            None => {}
            Some(_) => {
                for table in STORED {
                    if !is_empty(&mut transaction, &format!("{}.{table}", project.schema())).await? {
                        return Ok(false);
                    }
                }
            }
        }
        sqlx::query("UPDATE errortracking.projects SET state = 'deleted' WHERE project_id = $1")
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
        self.drop_own_schema(&mut transaction, project).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Retained projects of this database that the namespace has left, but for the one of this name, which the next
    /// object takes over.
    pub async fn retained_in(&self, namespace_uid: &str, but_for: &str) -> Result<u32, StoreError> {
        let (retained,): (i64,) = sqlx::query_as(
            "SELECT count(*) FROM errortracking.projects
             WHERE namespace_uid = $1 AND name <> $2 AND state = 'retained'",
        )
        .bind(namespace_uid)
        .bind(but_for)
        .fetch_one(&mut *self.read().await?)
        .await?;
        Ok(u32::try_from(retained).unwrap_or(u32::MAX))
    }

    /// Drops what the deletion of a project's object has left, if it is retained still; `None` when it is not. Returns the
    /// logins that were left: they go after the schema that they may have rights in.
    pub async fn drop_retained(&self, project: ProjectId) -> Result<Option<Vec<String>>, StoreError> {
        let dropped = async {
            let Some(mut transaction) = self.begin_for(project, None).await? else { return Ok(None) };
            let deleted = sqlx::query(
                "UPDATE errortracking.projects SET state = 'deleted', deletion_policy = 'Delete'
                 WHERE project_id = $1 AND state = 'retained'",
            )
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
            if deleted.rows_affected() == 0 {
                return Ok(None);
            }
            self.drop_own_schema(&mut transaction, project).await?;
            transaction.commit().await?;
            Ok(Some(self.drop_ingest_roles(project, None).await?))
        };
        self.naming_missing_rights(dropped.await).await
    }

    /// One that is not there is dropped already; one of somebody else stays.
    async fn drop_own_schema(&self, transaction: &mut PgConnection, project: ProjectId) -> Result<(), StoreError> {
        let schema = project.schema();
        match self.schema_comment(transaction, project).await? {
            None => {}
            Some(comment) if comment == self.expected_comment(project) => {
                sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE")))
                    .execute(&mut *transaction)
                    .await?;
            }
            Some(owner) => return Err(StoreError::SchemaMismatch { object: format!("schema {schema}"), owner }),
        }
        sqlx::query("UPDATE errortracking.projects SET schema_version = 0 WHERE project_id = $1")
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
        for table in ["ingest_instances", "floods"] {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM errortracking.{table} WHERE project_id = $1")))
                .bind(project.as_i64())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(())
    }
}

/// A table that is not there yet holds nothing.
async fn is_empty(transaction: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let (exists,): (bool,) =
        sqlx::query_as("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(&mut *transaction).await?;
    if !exists {
        return Ok(true);
    }
    let (empty,): (bool,) = sqlx::query_as(AssertSqlSafe(format!("SELECT NOT EXISTS (SELECT FROM {table})")))
        .fetch_one(transaction)
        .await?;
    Ok(empty)
}
