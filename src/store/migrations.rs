//! Brings a schema to the version this program knows: numbered files, forward only, each schema in one
//! transaction under its own lock. A newer version is left as it is: programs of version n−1 run on schema n.

use sqlx::{AssertSqlSafe, PgConnection};

use super::StoreError;
use crate::dsn::ProjectId;

/// First key of our advisory locks ("et"); the second is the project, or 0 for the installation.
const LOCK_CLASS: i32 = 0x6574;

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($folder:literal, $($version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")),
        }),+]
    };
}

const SERVER: &[Migration] = migrations!("server", 1 "0001_catalog", 2 "0002_ingest", 3 "0003_console");

const PROJECT: &[Migration] = migrations!("project", 1 "0001_events", 2 "0002_issues", 3 "0003_ingest_batch");

/// The version of a project's schema after [`migrate_project`].
pub(super) const PROJECT_VERSION: i32 = PROJECT[PROJECT.len() - 1].version;

/// Makes or migrates the schema `errortracking`, in the caller's transaction.
pub(super) async fn migrate_server(transaction: &mut PgConnection) -> Result<(), StoreError> {
    lock_installation(transaction).await?;
    let (exists,): (bool,) = sqlx::query_as("SELECT to_regclass('errortracking.schema_version') IS NOT NULL")
        .fetch_one(&mut *transaction)
        .await?;
    if !exists {
        sqlx::raw_sql(
            "CREATE SCHEMA IF NOT EXISTS errortracking;
             CREATE TABLE errortracking.schema_version (version integer NOT NULL);
             INSERT INTO errortracking.schema_version VALUES (0)",
        )
        .execute(&mut *transaction)
        .await?;
    }
    let (version,): (i32,) =
        sqlx::query_as("SELECT version FROM errortracking.schema_version").fetch_one(&mut *transaction).await?;
    if let Some(version) = apply(transaction, SERVER, version, "errortracking", str::to_owned).await? {
        sqlx::query("UPDATE errortracking.schema_version SET version = $1")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    Ok(())
}

/// Migrates a project's schema from `version`, in the caller's transaction and under its lock. The version it
/// has now, if that changed.
pub(super) async fn migrate_project(
    transaction: &mut PgConnection,
    project: ProjectId,
    version: i32,
) -> Result<Option<i32>, StoreError> {
    let schema = project.schema();
    let number = project.to_string();
    apply(transaction, PROJECT, version, &schema, |sql| sql.replace("{schema}", &schema).replace("{project}", &number))
        .await
}

async fn apply(
    transaction: &mut PgConnection,
    migrations: &[Migration],
    version: i32,
    schema: &str,
    fill: impl Fn(&str) -> String,
) -> Result<Option<i32>, StoreError> {
    let mut reached = None;
    for migration in migrations.iter().filter(|migration| migration.version > version) {
        sqlx::raw_sql(AssertSqlSafe(fill(migration.sql))).execute(&mut *transaction).await.map_err(|error| {
            StoreError::Migration {
                schema: schema.to_owned(),
                migration: migration.name,
                source: Box::new(error.into()),
            }
        })?;
        reached = Some(migration.version);
    }
    if reached.is_some() {
        // Everybody may execute a new function until this is taken away; default privileges of a schema
        // cannot do it.
        let revoke = format!(
            "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
             REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC;
             REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM PUBLIC;
             REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC"
        );
        sqlx::raw_sql(AssertSqlSafe(revoke)).execute(&mut *transaction).await?;
    }
    Ok(reached)
}

/// Until the end of the transaction nobody else changes what belongs to the whole installation.
pub(super) async fn lock_installation(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, 0)").bind(LOCK_CLASS).execute(transaction).await?;
    Ok(())
}

/// As [`lock_installation`], but beside others who share it.
pub(super) async fn share_installation(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1, 0)").bind(LOCK_CLASS).execute(transaction).await?;
    Ok(())
}

/// Until the end of the transaction nobody else changes the project's schema, login or partitions.
pub(super) async fn lock_project(transaction: &mut PgConnection, project: ProjectId) -> Result<(), StoreError> {
    // A project id has 31 bits.
    let project = i32::try_from(project.get()).unwrap_or(i32::MAX);
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)").bind(LOCK_CLASS).bind(project).execute(transaction).await?;
    Ok(())
}
