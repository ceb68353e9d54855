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

-- API tokens, which people make in the console for programs.
CREATE TABLE errortracking.console_api_tokens (
    token_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- SHA-256 of the token: whoever reads this table cannot show one.
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    scopes text[] NOT NULL,
    -- Who made it, as when they were signed in: SubjectAccessReview is asked about them at each use.
    user_name text NOT NULL CHECK (length(user_name) BETWEEN 1 AND 1024),
    user_uid text NOT NULL,
    groups text[] NOT NULL,
    extra jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX console_api_tokens_user_name ON errortracking.console_api_tokens (user_name, created_at);
CREATE INDEX console_api_tokens_expires_at ON errortracking.console_api_tokens (expires_at);

-- Whether the token was made: nobody has more than fifty. Those that have expired go.
CREATE FUNCTION errortracking.make_api_token(
    digest bytea, name text, scopes text[], user_name text, user_uid text, groups text[], extra jsonb,
    expires_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    -- One at a time: two that are made at once are counted both.
    LOCK TABLE errortracking.console_api_tokens IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM errortracking.console_api_tokens AS t WHERE t.expires_at <= now();
    IF (SELECT count(*) FROM errortracking.console_api_tokens AS t WHERE t.user_name = make_api_token.user_name) >= 50 THEN
        RETURN false;
    END IF;
    INSERT INTO errortracking.console_api_tokens (digest, name, scopes, user_name, user_uid, groups, extra, expires_at)
    VALUES (digest, name, scopes, user_name, user_uid, groups, extra, expires_at);
    RETURN true;
END
$$;

-- The token of that digest, if it has not expired. Its last use is noted once a minute.
CREATE FUNCTION errortracking.use_api_token(digest bytea)
RETURNS TABLE (scopes text[], user_name text, user_uid text, groups text[], extra jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE errortracking.console_api_tokens AS t SET last_used_at = now()
    WHERE t.digest = use_api_token.digest AND t.expires_at > now()
        AND (t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute');
    RETURN QUERY
        SELECT t.scopes, t.user_name, t.user_uid, t.groups, t.extra FROM errortracking.console_api_tokens AS t
        WHERE t.digest = use_api_token.digest AND t.expires_at > now();
END
$$;

-- The tokens that somebody has made, the newest first.
CREATE FUNCTION errortracking.api_tokens_of(user_name text)
RETURNS TABLE (
    token_id uuid, name text, scopes text[], created_at timestamptz, expires_at timestamptz, last_used_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.token_id, t.name, t.scopes, t.created_at, t.expires_at, t.last_used_at
    FROM errortracking.console_api_tokens AS t
    WHERE t.user_name = api_tokens_of.user_name AND t.expires_at > now()
    ORDER BY t.created_at DESC
$$;

CREATE FUNCTION errortracking.revoke_api_token(user_name text, token_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM errortracking.console_api_tokens AS t
    WHERE t.token_id = revoke_api_token.token_id AND t.user_name = revoke_api_token.user_name
$$;

-- Ends every session of somebody, in all browsers.
CREATE FUNCTION errortracking.end_sessions_of(user_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM errortracking.console_sessions AS s WHERE s.user_name = end_sessions_of.user_name
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
            'GRANT EXECUTE ON FUNCTION errortracking.begin_session_once, errortracking.end_sessions_of,
                errortracking.make_api_token, errortracking.use_api_token, errortracking.api_tokens_of,
                errortracking.revoke_api_token TO %I', login);
    END LOOP;
END
$$;
