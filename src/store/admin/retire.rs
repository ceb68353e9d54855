//! A project goes: keys, login and, if asked, its schema.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::{Admin, DeletionPolicy, Phase, roles};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

impl Admin {
    /// Revokes the keys, removes the login with its sessions and, with `Delete`, drops the schema.
    /// Repeating it finishes what is left; an unknown project is gone already.
    pub async fn retire_project(&self, project: ProjectId, policy: DeletionPolicy) -> Result<(), StoreError> {
        self.retire(project, None, policy).await
    }

    /// As [`Self::retire_project`], while the project is the object's: a new object of its name may have taken it over.
    pub async fn retire_project_of(
        &self,
        project: ProjectId,
        object_uid: &str,
        policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        self.retire(project, Some(object_uid), policy).await
    }

    async fn retire(
        &self,
        project: ProjectId,
        object_uid: Option<&str>,
        policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        let retired = async {
            self.close_project(project, object_uid, policy).await?;
            self.drop_ingest_roles(project, object_uid).await?;
            if policy == DeletionPolicy::Delete {
                self.drop_schema(project, object_uid).await?;
            }
            Ok(())
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
            let still: Option<(bool,)> =
                sqlx::query_as("SELECT object_uid = $2 FROM errortracking.projects WHERE project_id = $1 FOR UPDATE")
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
    /// connected know the keys from before, but what they send is not taken.
    async fn close_project(
        &self,
        project: ProjectId,
        object_uid: Option<&str>,
        policy: DeletionPolicy,
    ) -> Result<(), StoreError> {
        let phase = match policy {
            DeletionPolicy::Retain => Phase::Retained,
            DeletionPolicy::Delete => Phase::Deleted,
        };
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(()) };
        sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now() WHERE project_id = $1 AND revoked_at IS NULL",
        )
        .bind(project.as_i64())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE errortracking.projects
             SET state = $2, deletion_policy = $3, deleted_at = now(),
                ingest_role = NULL, ingest_password_digest = NULL
             WHERE project_id = $1 AND state NOT IN ('deleted', $2)",
        )
        .bind(project.as_i64())
        .bind(phase.as_str())
        .bind(policy.as_str())
        .execute(&mut *transaction)
        .await?;
        // A login that the project shared with the operator is none of these, and stays.
        for role in self.existing_ingest_roles(&mut transaction, project).await? {
            roles::lock_out(&mut transaction, &role).await?;
            self.revoke_ingest(&mut transaction, project, &role).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The logins of the project that exist.
    async fn existing_ingest_roles(
        &self,
        transaction: &mut PgConnection,
        project: ProjectId,
    ) -> Result<Vec<String>, StoreError> {
        let made: Vec<(String,)> = sqlx::query_as("SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)")
            .bind(self.installation.ingest_roles(project))
            .fetch_all(transaction)
            .await?;
        Ok(made.into_iter().map(|(role,)| role).collect())
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

    /// The roles that were there.
    async fn drop_ingest_roles(&self, project: ProjectId, object_uid: Option<&str>) -> Result<Vec<String>, StoreError> {
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(Vec::new()) };
        let roles = self.existing_ingest_roles(&mut transaction, project).await?;
        for role in &roles {
            roles::drop_role(&mut transaction, role).await?;
        }
        sqlx::query("DELETE FROM errortracking.former_logins WHERE project_id = $1")
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(roles)
    }

    async fn drop_schema(&self, project: ProjectId, object_uid: Option<&str>) -> Result<(), StoreError> {
        let Some(mut transaction) = self.begin_for(project, object_uid).await? else { return Ok(()) };
        self.drop_own_schema(&mut transaction, project).await?;
        transaction.commit().await?;
        Ok(())
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
        sqlx::query("DELETE FROM errortracking.ingest_instances WHERE project_id = $1")
            .bind(project.as_i64())
            .execute(&mut *transaction)
            .await?;
        Ok(())
    }
}
