-- On which server a project is kept when not on this one: its row here must not look like one that is being set up.

CREATE OR REPLACE VIEW errortracking.console_projects AS
SELECT
    project_id, namespace, name, display_name, platform, namespace_uid, object_uid, schema_version, state, created_at,
    server
FROM errortracking.projects
WHERE state <> 'deleted';
