//! Databases as versions before left them.

/// Undoes what migrations of the server after the sixth have made; each new one is undone here first.
pub const BACK_TO_6: &str = "
    DROP FUNCTION errortracking.begin_session_once, errortracking.end_sessions_of, errortracking.make_api_token,
        errortracking.use_api_token, errortracking.api_tokens_of, errortracking.revoke_api_token;
    DROP TABLE errortracking.console_arrivals, errortracking.console_api_tokens;
    DROP FUNCTION errortracking.make_ticket, errortracking.ticket_user, errortracking.use_ticket;
    DROP TABLE errortracking.console_tickets;
    DROP FUNCTION errortracking.begin_session, errortracking.find_session, errortracking.end_session;
    DROP TABLE errortracking.console_sessions;
    DROP TABLE errortracking.floods;
    DROP FUNCTION errortracking.user_key;
    ALTER TABLE errortracking.projects DROP COLUMN user_key;
    DROP FUNCTION errortracking.record_key_endpoint;
    ALTER TABLE errortracking.client_keys DROP COLUMN endpoint;
    DROP TABLE errortracking.server_keys, errortracking.server_key_intents, errortracking.server_key_orphans;
    DROP FUNCTION errortracking.succeed_and_observe, errortracking.publish_and_observe, errortracking.observe_keys;
    DROP TYPE errortracking.observed_keys;
    DROP VIEW errortracking.console_client_keys;
    CREATE VIEW errortracking.console_client_keys AS
    SELECT key_id, project_id, namespace, name, ordinal, left(public_key, 8) AS public_key_prefix,
        enabled, created_at, revoked_at, last_used_at
    FROM errortracking.client_keys;
    DO $$ BEGIN EXECUTE (
        SELECT 'ALTER VIEW errortracking.console_client_keys OWNER TO ' || relowner::regrole
        FROM pg_class WHERE oid = 'errortracking.client_keys'::regclass
    ); END $$;
    DROP FUNCTION errortracking.succeed_key, errortracking.publish_key, errortracking.end_key, errortracking.restore_key,
        errortracking.record_restart, errortracking.withdraw_keys;
    ALTER TABLE errortracking.client_keys DROP COLUMN state, DROP COLUMN published_at, DROP COLUMN retiring_since,
        DROP COLUMN restored, DROP COLUMN settings_version, DROP COLUMN restarted;
    DROP FUNCTION errortracking.report, errortracking.record_refused, errortracking.look_up_key, errortracking.time_of;
    DROP TABLE errortracking.refused_addresses, errortracking.refused_keys;
    ALTER TABLE errortracking.ingest_instances DROP COLUMN ended_at, DROP COLUMN ended_clean;
    DROP INDEX errortracking.projects_namespace;
    ALTER TABLE errortracking.projects DROP COLUMN ingest_pods, DROP COLUMN ingest_role_since;
    UPDATE errortracking.schema_version SET version = 6;";

/// What made a project's schema of the sixth version, in this order.
pub const PROJECT_UP_TO_6: [&str; 6] = [
    include_str!("../../migrations/project/0001_events.sql"),
    include_str!("../../migrations/project/0002_issues.sql"),
    include_str!("../../migrations/project/0003_ingest_batch.sql"),
    include_str!("../../migrations/project/0004_reports.sql"),
    include_str!("../../migrations/project/0005_ingest.sql"),
    include_str!("../../migrations/project/0006_grouping_versions.sql"),
];
