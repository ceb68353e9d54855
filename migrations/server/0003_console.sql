-- What the console reads of the catalog: no password digests, of a key only what recognises it.

CREATE VIEW errortracking.console_projects AS
SELECT project_id, namespace, name, display_name, platform, namespace_uid, object_uid, schema_version, state, created_at
FROM errortracking.projects
WHERE state <> 'deleted';

CREATE VIEW errortracking.console_client_keys AS
SELECT
    key_id, project_id, namespace, name, ordinal, left(public_key, 8) AS public_key_prefix,
    enabled, created_at, revoked_at, last_used_at
FROM errortracking.client_keys;
