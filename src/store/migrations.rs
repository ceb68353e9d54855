//! Brings a schema to the version this program knows: numbered files, forward only, each schema in one
//! transaction under its own lock. A newer version is left as it is: programs of version n−1 run on schema n.
//! `migrations/README.md` has the rules for the files.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::StoreError;
use crate::dsn::ProjectId;

/// Key of the advisory lock under which the schema `errortracking` is made.
const FIRST_INSTALLATION: i64 = 0x6574;

/// How long a statement of a migration waits for other transactions.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
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

const SERVER: &[Migration] = migrations!(
    "server", 1 "0001_catalog", 2 "0002_ingest", 3 "0003_console", 4 "0004_identity", 5 "0005_settings",
    6 "0006_console_servers", 7 "0007_ingest_logins", 8 "0008_key_usage", 9 "0009_rotation",
    10 "0010_observed_keys", 11 "0011_server_keys", 12 "0012_key_endpoints", 13 "0013_user_keys",
    14 "0014_floods", 15 "0015_console_sessions", 16 "0016_tickets", 17 "0017_console_sign_in",
);

const PROJECT: &[Migration] = migrations!(
    "project", 1 "0001_events", 2 "0002_issues", 3 "0003_ingest_batch", 4 "0004_reports", 5 "0005_ingest",
    6 "0006_grouping_versions", 7 "0007_flood_limits", 8 "0008_ingest_batch", 9 "0009_acting", 10 "0010_actions",
    11 "0011_environments",
);

/// The version of a project's schema after [`migrate_project`].
pub(super) const PROJECT_VERSION: i32 = PROJECT[PROJECT.len() - 1].version;

/// Makes or migrates the schema `errortracking`, in the caller's transaction.
pub(super) async fn migrate_server(transaction: &mut PgConnection) -> Result<(), StoreError> {
    if !is_installed(transaction).await? {
        // Everybody may take an advisory lock, but before there is an installation nobody of ours logs in.
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FIRST_INSTALLATION).execute(&mut *transaction).await?;
        if !is_installed(transaction).await? {
            sqlx::raw_sql(
                "CREATE SCHEMA IF NOT EXISTS errortracking;
                 CREATE TABLE errortracking.schema_version (version integer NOT NULL);
                 INSERT INTO errortracking.schema_version VALUES (0)",
            )
            .execute(&mut *transaction)
            .await?;
        }
    }
    lock_installation(transaction).await?;
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

async fn is_installed(transaction: &mut PgConnection) -> Result<bool, StoreError> {
    let (installed,): (bool,) =
        sqlx::query_as("SELECT to_regclass('errortracking.schema_version') IS NOT NULL").fetch_one(transaction).await?;
    Ok(installed)
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
    if migrations.iter().any(|migration| migration.version > version) {
        // Ingest queues behind a lock that waits, as for a backup that is being made.
        let limit = format!("SET LOCAL lock_timeout = '{}ms'", LOCK_TIMEOUT.as_millis());
        sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut *transaction).await?;
    }
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
    sqlx::query("LOCK TABLE errortracking.schema_version IN EXCLUSIVE MODE").execute(transaction).await?;
    Ok(())
}

/// Until the end of the transaction nobody else gives numbers out, or gives a project to another object; the schemas of
/// projects are made meanwhile. Not an advisory lock: every login of the database could hold that.
pub(super) async fn lock_numbers(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT FROM errortracking.schema_version FOR UPDATE").execute(transaction).await?;
    Ok(())
}

/// As [`lock_installation`], but beside others who share it.
pub(super) async fn share_installation(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("LOCK TABLE errortracking.schema_version IN ROW SHARE MODE").execute(transaction).await?;
    Ok(())
}

/// Until the end of the transaction nobody else changes the project's schema, login or partitions.
pub(super) async fn lock_project(transaction: &mut PgConnection, project: ProjectId) -> Result<(), StoreError> {
    // NO KEY: the foreign keys of what ingest writes hold the row too.
    sqlx::query("SELECT FROM errortracking.projects WHERE project_id = $1 FOR NO KEY UPDATE")
        .bind(project.as_i64())
        .execute(transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, path::Path};

    use sha2::{Digest, Sha256};

    use super::{Migration, PROJECT, SERVER};

    const RELEASED: &str = include_str!("../../migrations/released.sha256");

    fn digest(sql: &str) -> String {
        Sha256::digest(sql).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    }

    /// Lines of [`RELEASED`] whose file is not as it was released, or is not applied any more.
    fn changed<'a>(released: &'a str, folders: &[(&str, &[Migration])]) -> Vec<&'a str> {
        let is_current = |line: &&str| {
            let (digest_of_file, path) = line.split_once("  ").unwrap();
            let (folder, file) = path.split_once('/').unwrap();
            let (_, migrations) = folders.iter().find(|(name, _)| *name == folder).unwrap();
            let migration = migrations.iter().find(|migration| format!("{}.sql", migration.name) == file);
            migration.is_some_and(|migration| digest(migration.sql) == digest_of_file)
        };
        released.lines().filter(|line| !is_current(line)).collect()
    }

    #[test]
    fn a_released_migration_is_never_edited() {
        let changed = changed(RELEASED, &[("server", SERVER), ("project", PROJECT)]);
        assert!(
            changed.is_empty(),
            "{changed:#?}: schemas that have applied these files do not apply them again. Take the edit back and put \
             the change into the next file; migrations/README.md says how it is released."
        );
    }

    #[test]
    fn an_edit_of_a_released_migration_is_found() {
        let before = Migration { version: 1, name: "0001_a", sql: "SELECT 1" };
        let after = Migration { sql: "SELECT 1 -- one", ..before };
        let released = format!("{}  server/0001_a.sql\n", digest(before.sql));
        assert!(changed(&released, &[("server", &[before])]).is_empty());
        assert_eq!(changed(&released, &[("server", &[after])]), [released.trim_end()]);
        assert_eq!(changed(&released, &[("server", &[])]), [released.trim_end()]);
    }

    #[test]
    fn every_file_is_applied_in_the_order_of_its_number() {
        for (folder, migrations) in [("server", SERVER), ("project", PROJECT)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut files: Vec<String> = files.collect();
            files.sort();
            let applied: Vec<String> = migrations.iter().map(|migration| format!("{}.sql", migration.name)).collect();
            assert_eq!(applied, files, "migrations/{folder} and the list in src/store/migrations.rs");
            for (version, migration) in (1..).zip(migrations) {
                assert_eq!(migration.version, version);
                assert!(migration.name.starts_with(&format!("{version:04}_")), "{}", migration.name);
            }
        }
    }
}
