-- Sign-ins at an identity provider that have led to a session: what the browser brought back leads to no second one, in
-- no pod.

CREATE TABLE errortracking.console_arrivals (
    -- SHA-256 of the secret in the browser's cookie of that sign-in.
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- When the console takes it for too old.
    expires_at timestamptz NOT NULL DEFAULT now() + interval '11 minutes'
);
CREATE INDEX console_arrivals_expires_at ON errortracking.console_arrivals (expires_at);

-- begin_session, unless `arrival` has led to a session before: whether it has not.
CREATE FUNCTION errortracking.begin_session_once(
    arrival bytea, digest bytea, user_name text, user_uid text, groups text[], extra jsonb, expires_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM errortracking.console_arrivals AS a WHERE a.expires_at <= now();
    INSERT INTO errortracking.console_arrivals (digest) VALUES (arrival) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM errortracking.begin_session(digest, user_name, user_uid, groups, extra, expires_at);
    RETURN true;
END
$$;

-- For a login of the console that is there already: its pods may get the new program before the operator looks at it.
DO $$
DECLARE
    login text;
BEGIN
    FOR login IN
        SELECT l.role FROM errortracking.console_login AS l JOIN pg_roles AS r ON r.rolname = l.role
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION errortracking.begin_session_once TO %I', login);
    END LOOP;
END
$$;
