-- Who uses the database, which projects are kept on another server, and logins that change without a refused connection.

-- The installation that uses this database. A second one is refused while the first lives.
CREATE TABLE errortracking.owner (
    -- One row: the primary key can have one value. Not in the row of the installation: every change locks that one.
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    namespace text NOT NULL,
    namespace_uid text NOT NULL,
    lease text NOT NULL,
    -- Renewed while the installation has a leader that reaches the database.
    seen_at timestamptz NOT NULL
);

-- Where the project is kept when not here: the Secret in its namespace, and the server it named last.
ALTER TABLE errortracking.projects
    ADD COLUMN database_secret text,
    ADD COLUMN server text,
    ADD CONSTRAINT projects_elsewhere CHECK ((database_secret IS NULL) = (server IS NULL));

-- Also for deleted projects, which the unique index leaves out.
CREATE INDEX projects_object ON errortracking.projects (object_uid);

-- A new password comes with a new login. The one before stays until every pod has seen the Secret.
CREATE TABLE errortracking.former_logins (
    role text PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES errortracking.projects,
    valid_until timestamptz NOT NULL
);

CREATE INDEX former_logins_project ON errortracking.former_logins (project_id);

CREATE OR REPLACE FUNCTION errortracking.authorize(project bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Two lookups by name: one condition with OR would read all roles of the server.
    PERFORM FROM (
        SELECT p.ingest_role AS role FROM errortracking.projects AS p
        WHERE p.project_id = project AND p.state = 'active'
        UNION ALL
        SELECT f.role FROM errortracking.former_logins AS f JOIN errortracking.projects AS p USING (project_id)
        WHERE f.project_id = project AND f.valid_until > clock_timestamp() AND p.state = 'active'
    ) AS login
    JOIN pg_roles AS r ON r.rolname = login.role
    WHERE pg_has_role(session_user, r.oid, 'MEMBER');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login % does not serve project %', session_user, project
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

-- Every pass over a ClientKey looks its keys up, the revoked ones too; a new object looks for those of a lost one.
CREATE INDEX client_keys_object ON errortracking.client_keys (client_key_uid);
CREATE INDEX client_keys_name ON errortracking.client_keys (namespace_uid, name);
