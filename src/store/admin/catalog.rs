//! The projects of the catalog, for the platform team: what is kept without an object, and how one gets an object again.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::{Admin, Location, Phase, ProjectIdentity, projects::project_id};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz, migrations},
};

/// A project of the catalog, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogProject {
    pub project_id: ProjectId,
    pub namespace: String,
    pub name: String,
    pub object_uid: String,
    pub phase: Phase,
    /// When its object was deleted.
    pub since: Option<Timestamp>,
    pub location: Option<Location>,
}

type Row = (i64, String, String, String, String, Option<Timestamptz>, Option<String>, Option<String>);

impl Admin {
    /// Every project that has a schema or an object, in the order of their numbers.
    pub async fn catalog_projects(&self) -> Result<Vec<CatalogProject>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT
                p.project_id, p.namespace, p.name, p.object_uid, p.state, p.deleted_at, p.database_secret, p.server
             FROM errortracking.projects AS p
             WHERE p.state <> 'deleted'
                OR EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = 'project_' || p.project_id)
             ORDER BY p.project_id",
        )
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.into_iter()
            .map(|(id, namespace, name, object_uid, state, since, secret, server)| {
                Ok(CatalogProject {
                    project_id: project_id(id)?,
                    namespace,
                    name,
                    object_uid,
                    phase: Phase::from_column(&state),
                    since: since.map(Timestamptz::to_jiff),
                    location: secret.zip(server).map(|(secret, server)| Location { secret, server }),
                })
            })
            .collect()
    }

    /// Whether anything was ever stored for the project and is still there.
    pub async fn has_events(&self, project: ProjectId) -> Result<bool, StoreError> {
        let schema = project.schema();
        let (exists,): (bool,) = sqlx::query_as("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{schema}.events"))
            .fetch_one(&mut *self.read().await?)
            .await?;
        if !exists {
            return Ok(false);
        }
        let (stored,): (bool,) = sqlx::query_as(AssertSqlSafe(format!("SELECT EXISTS (SELECT FROM {schema}.events)")))
            .fetch_one(&mut *self.read().await?)
            .await?;
        Ok(stored)
    }

    /// Makes `target` the project's object; with `living` it exists, else the next one of its namespace and name takes
    /// the project. A project that the target has so far must be `replaced`: its number is not used again.
    pub async fn adopt_project(
        &self,
        project: ProjectId,
        target: &ProjectIdentity,
        living: bool,
        replaced: Option<ProjectId>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_numbers(&mut transaction).await?;
        if let Some(replaced) = replaced {
            // In the same transaction: the operator would give the object a new number in between.
            for statement in [
                "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE project_id = $1 AND revoked_at IS NULL",
                "UPDATE errortracking.projects SET state = 'deleted', deletion_policy = 'Delete', deleted_at = now(),
                    ingest_role = NULL, ingest_password_digest = NULL
                 WHERE project_id = $1",
            ] {
                sqlx::query(statement).bind(replaced.as_i64()).execute(&mut *transaction).await?;
            }
        }
        let adopted = sqlx::query(
            "UPDATE errortracking.projects
             SET namespace = $2, name = $3, namespace_uid = $4,
                object_uid = CASE WHEN $6 THEN $5 ELSE object_uid END,
                state = CASE WHEN $6 THEN 'active' ELSE 'retained' END,
                deleted_at = CASE WHEN $6 THEN NULL ELSE coalesce(deleted_at, now()) END
             WHERE project_id = $1 AND state <> 'deleted'",
        )
        .bind(project.as_i64())
        .bind(&target.namespace)
        .bind(&target.name)
        .bind(&target.namespace_uid)
        .bind(&target.object_uid)
        .bind(living)
        .execute(&mut *transaction)
        .await?;
        if adopted.rows_affected() == 0 {
            return Err(StoreError::UnknownProject(project));
        }
        // Keys that were not revoked belong to objects that were lost: those of their names take them over.
        sqlx::query("UPDATE errortracking.client_keys SET namespace = $2, namespace_uid = $3 WHERE project_id = $1")
            .bind(project.as_i64())
            .bind(&target.namespace)
            .bind(&target.namespace_uid)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
