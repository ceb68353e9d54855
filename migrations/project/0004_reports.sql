-- What comes beside events: sessions, feedback of users, and what became of everything that was sent.

-- Release health. A session counts in the hour it started; env_id 0: no environment.
CREATE TABLE {schema}.sessions (
    hour timestamptz NOT NULL,
    release_id integer NOT NULL,
    env_id integer NOT NULL,
    total bigint NOT NULL,
    -- Whatever was wrong with them; the three columns below are parts of it.
    errored bigint NOT NULL,
    crashed bigint NOT NULL,
    abnormal bigint NOT NULL,
    unhandled bigint NOT NULL,
    PRIMARY KEY (hour, release_id, env_id)
) WITH (fillfactor = 70);

-- Sessions that are reported one by one, for as long as an update of one can be sent again.
CREATE TABLE {schema}.session_seen (
    sid uuid PRIMARY KEY,
    seq bigint NOT NULL,
    started timestamptz NOT NULL,
    release_id integer NOT NULL,
    env_id integer NOT NULL,
    -- 0 healthy, 1 errored, 2 unhandled, 3 abnormal, 4 crashed
    state smallint NOT NULL,
    -- The state before the last update that was applied; NULL: that was the first one.
    was smallint,
    -- Whether the session is in a total, which it is once.
    counted boolean NOT NULL,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Distinct users; one is of an hour, a release and an environment once, with the worst that happened.
CREATE TABLE {schema}.session_users (
    hour timestamptz NOT NULL,
    release_id integer NOT NULL,
    env_id integer NOT NULL,
    user_hash bigint NOT NULL,
    errored boolean NOT NULL,
    crashed boolean NOT NULL,
    abnormal boolean NOT NULL,
    unhandled boolean NOT NULL,
    PRIMARY KEY (hour, release_id, env_id, user_hash)
);

CREATE TABLE {schema}.user_feedback (
    feedback_id uuid PRIMARY KEY,
    -- The event it is about, if it is about one; that need not be stored.
    event_id uuid,
    received_at timestamptz NOT NULL,
    -- report: about a crash; feedback: written on its own.
    kind text NOT NULL CHECK (kind IN ('report', 'feedback')),
    name text NOT NULL,
    email text NOT NULL,
    message text NOT NULL,
    url text NOT NULL
);

CREATE TABLE {schema}.outcome_counts (
    hour timestamptz NOT NULL,
    -- Words this short need no table beside, of which there would be one a project.
    outcome varchar(64) NOT NULL,
    -- 0: sent without a key that we know.
    key_id bigint NOT NULL,
    category varchar(64) NOT NULL,
    reason varchar(64) NOT NULL,
    -- A share of the writers, so that not each of their batches waits for the commit of another.
    part smallint NOT NULL,
    quantity bigint NOT NULL,
    PRIMARY KEY (hour, outcome, key_id, category, reason, part)
) WITH (fillfactor = 70);

-- Events accepted in the window under way: a row a writer, so that none waits for another.
CREATE TABLE {schema}.key_usage_windows (
    -- 0: the whole project.
    key_id bigint NOT NULL,
    window_seconds integer NOT NULL,
    stream uuid NOT NULL,
    window_start timestamptz NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (key_id, window_seconds, stream)
) WITH (fillfactor = 50);

-- What became of what was sent since then, in whole hours, with what instances of the version before counted.
CREATE FUNCTION {schema}.outcomes_since(since timestamptz)
RETURNS TABLE (hour timestamptz, key_id bigint, category text, outcome text, reason text, quantity bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, {schema}, pg_temp AS $$
    SELECT r.hour, r.key_id, r.category, r.outcome, r.reason, sum(r.quantity)::bigint
    FROM (
        SELECT o.hour, o.key_id, o.category, o.outcome, o.reason, o.quantity FROM outcome_counts AS o
        UNION ALL
        SELECT
            o.hour, 0, 'default',
            CASE
                WHEN o.reason IN (
                    'duplicate_item', 'session', 'client_report', 'attachment', 'unsupported_item'
                ) THEN 'dropped'
                WHEN o.reason = 'quarantined' THEN 'quarantined'
                WHEN o.reason IN (
                    'keys_unavailable', 'rejected', 'overloaded', 'database_unavailable', 'database_refused'
                ) THEN 'lost'
                ELSE 'refused'
            END,
            o.reason, o.quantity
        FROM outcomes AS o
    ) AS r
    WHERE r.hour >= date_trunc('hour', since, 'UTC')
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 2, 3, 4, 5
$$;

-- Health of each release and environment since then, in whole hours. healthy, errored, unhandled, abnormal and
-- crashed add up to sessions.
CREATE FUNCTION {schema}.release_health(since timestamptz)
RETURNS TABLE (
    release text, environment text, sessions bigint, errored bigint, crashed bigint, abnormal bigint, unhandled bigint,
    healthy bigint, users bigint, crashed_users bigint, crash_free_sessions double precision,
    crash_free_users double precision
)
LANGUAGE sql STABLE SET search_path = pg_catalog, {schema}, pg_temp AS $$
    SELECT
        r.release, e.environment, s.total, greatest(s.errored - s.crashed - s.abnormal - s.unhandled, 0), s.crashed,
        s.abnormal, s.unhandled, greatest(s.total - s.errored, 0), coalesce(u.users, 0), coalesce(u.crashed, 0),
        1 - least(s.crashed, s.total)::double precision / nullif(s.total, 0),
        1 - u.crashed::double precision / nullif(u.users, 0)
    FROM (
        SELECT
            h.release_id, h.env_id, sum(h.total)::bigint AS total, sum(h.errored)::bigint AS errored,
            sum(h.crashed)::bigint AS crashed, sum(h.abnormal)::bigint AS abnormal,
            sum(h.unhandled)::bigint AS unhandled
        FROM sessions AS h
        WHERE h.hour >= date_trunc('hour', since, 'UTC')
        GROUP BY 1, 2
    ) AS s
    JOIN releases AS r USING (release_id)
    LEFT JOIN environments AS e USING (env_id)
    LEFT JOIN (
        SELECT
            h.release_id, h.env_id, count(DISTINCT h.user_hash) AS users,
            count(DISTINCT h.user_hash) FILTER (WHERE h.crashed) AS crashed
        FROM session_users AS h
        WHERE h.hour >= date_trunc('hour', since, 'UTC')
        GROUP BY 1, 2
    ) AS u USING (release_id, env_id)
    ORDER BY r.release, e.environment NULLS FIRST
$$;
