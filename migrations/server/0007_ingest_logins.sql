-- How much of the server each project's ingest may use, and how old its login is.

ALTER TABLE errortracking.projects
    -- Pods that the connection limit of the login was made for. NULL: not said yet; a project with a login is of the
    -- version before then, whose logins had no limit.
    ADD COLUMN ingest_pods integer CHECK (ingest_pods >= 0),
    -- Logins of the version before count from now on.
    ADD COLUMN ingest_role_since timestamptz DEFAULT now();

-- The pods of a namespace are summed up when one of its projects asks for more.
CREATE INDEX projects_namespace ON errortracking.projects (namespace_uid) WHERE state = 'active';
