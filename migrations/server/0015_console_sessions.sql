-- Who is signed in to the console. The console keeps nothing in its pods, so that any of them answers any request and a
-- sign-out ends the session in all of them.

CREATE TABLE errortracking.console_sessions (
    -- SHA-256 of what the browser's cookie holds: whoever reads this table cannot sign in with it.
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- As TokenReview gave them, and as SubjectAccessReview is asked about.
    user_name text NOT NULL CHECK (length(user_name) BETWEEN 1 AND 1024),
    user_uid text NOT NULL,
    groups text[] NOT NULL,
    extra jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX console_sessions_expires_at ON errortracking.console_sessions (expires_at);
CREATE INDEX console_sessions_user_name ON errortracking.console_sessions (user_name, created_at);

-- Begins a session, and ends what is over: sessions past their time, and of one user all but the newest hundred.
CREATE FUNCTION errortracking.begin_session(
    digest bytea, user_name text, user_uid text, groups text[], extra jsonb, expires_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM errortracking.console_sessions AS s WHERE s.expires_at <= now();
    DELETE FROM errortracking.console_sessions AS s
    WHERE s.digest IN (
        SELECT older.digest FROM errortracking.console_sessions AS older
        WHERE older.user_name = begin_session.user_name
        ORDER BY older.created_at DESC
        OFFSET 99
    );
    INSERT INTO errortracking.console_sessions (digest, user_name, user_uid, groups, extra, expires_at)
    VALUES (digest, user_name, user_uid, groups, extra, expires_at);
END
$$;

-- The session of that digest, if it is not over.
CREATE FUNCTION errortracking.find_session(digest bytea)
RETURNS TABLE (user_name text, user_uid text, groups text[], extra jsonb, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.user_name, s.user_uid, s.groups, s.extra, s.expires_at
    FROM errortracking.console_sessions AS s
    WHERE s.digest = find_session.digest AND s.expires_at > now()
$$;

CREATE FUNCTION errortracking.end_session(digest bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM errortracking.console_sessions AS s WHERE s.digest = end_session.digest
$$;

-- For a login of the console that is there already: its pods may get the new program before the operator looks at it.
DO $$
DECLARE
    login text;
BEGIN
    FOR login IN
        SELECT l.role FROM errortracking.console_login AS l JOIN pg_roles AS r ON r.rolname = l.role
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION errortracking.begin_session, errortracking.find_session, errortracking.end_session
             TO %I', login);
    END LOOP;
END
$$;
