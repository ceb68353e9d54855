//! Databases as versions before left them.

/// Undoes what migrations of the server after the sixth have made; each new one is undone here first.
pub const BACK_TO_6: &str = "
    DROP FUNCTION errortracking.report, errortracking.time_of;
    ALTER TABLE errortracking.ingest_instances DROP COLUMN ended_at, DROP COLUMN ended_clean;
    DROP INDEX errortracking.projects_namespace;
    ALTER TABLE errortracking.projects DROP COLUMN ingest_pods, DROP COLUMN ingest_role_since;
    UPDATE errortracking.schema_version SET version = 6;";
