-- Who leads, which projects there are, and their keys.

CREATE TABLE errortracking.installation (
    -- One row: the primary key can have one value.
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id text NOT NULL CHECK (id ~ '^[0-9a-f]{8}$'),
    -- Lease transitions of the newest leader that was here.
    epoch bigint NOT NULL DEFAULT 0
);

-- Not in the row above: every change locks that one.
CREATE TABLE errortracking.console_login (
    role text PRIMARY KEY,
    password_digest bytea NOT NULL CHECK (octet_length(password_digest) = 32)
);

-- First statement of every change by the operator. The share lock makes a newer leader's claim wait for
-- changes that have begun, and the changes after it fail.
CREATE FUNCTION errortracking.fence(ours bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored bigint;
BEGIN
    SELECT epoch INTO STRICT stored FROM errortracking.installation FOR SHARE;
    IF stored < ours THEN
        UPDATE errortracking.installation SET epoch = ours WHERE epoch < ours;
        SELECT epoch INTO STRICT stored FROM errortracking.installation;
    END IF;
    IF stored > ours THEN
        RAISE EXCEPTION 'epoch % is over, epoch % leads', ours, stored
            USING ERRCODE = 'ETF01', DETAIL = stored || ' ' || ours;
    END IF;
END
$$;

CREATE SEQUENCE errortracking.project_ids AS bigint MAXVALUE 2147483647 NO CYCLE;

CREATE TABLE errortracking.projects (
    project_id bigint PRIMARY KEY CHECK (project_id BETWEEN 1 AND 2147483647),
    namespace text NOT NULL,
    name text NOT NULL,
    -- What people see of it, from the object's spec.
    display_name text,
    platform text,
    namespace_uid text NOT NULL,
    object_uid text NOT NULL,
    -- Number of the last migration of the schema project_<id>; 0: there is no schema.
    schema_version integer NOT NULL DEFAULT 0,
    ingest_role text,
    ingest_password_digest bytea CHECK (octet_length(ingest_password_digest) = 32),
    deletion_policy text NOT NULL CHECK (deletion_policy IN ('Retain', 'Delete')),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'retained', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- One project an object, one project a name; deleted rows only keep their id from being used again.
CREATE UNIQUE INDEX projects_object_uid ON errortracking.projects (object_uid) WHERE state <> 'deleted';
CREATE UNIQUE INDEX projects_name ON errortracking.projects (namespace_uid, name) WHERE state <> 'deleted';

-- Version of what ingest must know of a project. It only grows, also over a restore of an older backup,
-- because it is the time of the change in microseconds.
CREATE TABLE errortracking.settings (
    project_id bigint PRIMARY KEY REFERENCES errortracking.projects,
    version bigint NOT NULL
);

CREATE TABLE errortracking.client_keys (
    key_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES errortracking.projects,
    namespace text NOT NULL,
    name text NOT NULL,
    namespace_uid text NOT NULL,
    client_key_uid text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal > 0),
    public_key text NOT NULL CONSTRAINT client_keys_public_key UNIQUE,
    secret text,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    last_used_at timestamptz
);

-- A revoked row never answers for its ordinal again.
CREATE UNIQUE INDEX client_keys_ordinal ON errortracking.client_keys (client_key_uid, ordinal) WHERE revoked_at IS NULL;
CREATE INDEX client_keys_project ON errortracking.client_keys (project_id);

CREATE FUNCTION errortracking.settings_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO errortracking.settings AS s (project_id, version)
    VALUES (coalesce(NEW.project_id, OLD.project_id), extract(epoch FROM clock_timestamp()) * 1000000)
    ON CONFLICT (project_id) DO UPDATE SET version = greatest(s.version + 1, excluded.version);
    RETURN NULL;
END
$$;

-- Not for last_used_at, which changes all the time and which ingest does not need.
CREATE TRIGGER settings_changed
AFTER INSERT OR DELETE OR UPDATE OF project_id, public_key, enabled, revoked_at ON errortracking.client_keys
FOR EACH ROW EXECUTE FUNCTION errortracking.settings_changed();
