-- Tickets: what `kubectl errors login` opens the browser with. One begins a session, once, within a minute.

CREATE TABLE errortracking.console_tickets (
    -- SHA-256 of the ticket: whoever reads this table cannot use one.
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- As of a session, which it begins.
    user_name text NOT NULL CHECK (length(user_name) BETWEEN 1 AND 1024),
    user_uid text NOT NULL,
    groups text[] NOT NULL,
    extra jsonb NOT NULL,
    session_expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '60 seconds'
);
CREATE INDEX console_tickets_expires_at ON errortracking.console_tickets (expires_at);
CREATE INDEX console_tickets_user_name ON errortracking.console_tickets (user_name, created_at);

-- Makes a ticket, and ends what is over: tickets past their time, and of one user all but the newest ten.
CREATE FUNCTION errortracking.make_ticket(
    digest bytea, user_name text, user_uid text, groups text[], extra jsonb, session_expires_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM errortracking.console_tickets AS t WHERE t.expires_at <= now();
    DELETE FROM errortracking.console_tickets AS t
    WHERE t.digest IN (
        SELECT older.digest FROM errortracking.console_tickets AS older
        WHERE older.user_name = make_ticket.user_name
        ORDER BY older.created_at DESC
        OFFSET 9
    );
    INSERT INTO errortracking.console_tickets (digest, user_name, user_uid, groups, extra, session_expires_at)
    VALUES (digest, user_name, user_uid, groups, extra, session_expires_at);
END
$$;

-- Who made the ticket of that digest, if it is not over.
CREATE FUNCTION errortracking.ticket_user(digest bytea) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.user_name FROM errortracking.console_tickets AS t
    WHERE t.digest = ticket_user.digest AND t.expires_at > now()
$$;

-- Uses a ticket up: of two who come with the same one, one gets a row.
CREATE FUNCTION errortracking.use_ticket(digest bytea)
RETURNS TABLE (user_name text, user_uid text, groups text[], extra jsonb, expires_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM errortracking.console_tickets AS t
    WHERE t.digest = use_ticket.digest AND t.expires_at > now()
    RETURNING t.user_name, t.user_uid, t.groups, t.extra, t.session_expires_at
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
            'GRANT EXECUTE ON FUNCTION errortracking.make_ticket, errortracking.ticket_user, errortracking.use_ticket TO %I',
            login);
    END LOOP;
END
$$;
