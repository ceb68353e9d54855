-- Stores a batch of events as ingest_batch does, and in the same transaction what came beside them.
--
-- Locks go on in one order where ingest_batch ends: sessions seen, hours, users, feedback, outcomes, windows; each
-- sorted. As there, every lookup is by index whatever the tables held when the plan was made.

-- Gives new releases and environments of sessions their numbers. Only under the gate, which comes before the
-- dictionaries in the order of locks, and alone: a batch of events takes its own names later.
CREATE FUNCTION {schema}.name_releases(stream uuid, seq bigint, sessions jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    new_releases CONSTANT text[] := ARRAY(
        SELECT DISTINCT left(r.release, 250)
        FROM jsonb_to_recordset(name_releases.sessions) AS r (release text)
        WHERE r.release IS NOT NULL AND NOT EXISTS (SELECT FROM releases AS d WHERE d.release = left(r.release, 250))
        ORDER BY 1
    );
    new_environments CONSTANT text[] := ARRAY(
        SELECT DISTINCT left(r.environment, 250)
        FROM jsonb_to_recordset(name_releases.sessions) AS r (environment text)
        WHERE r.environment IS NOT NULL AND NOT EXISTS (
            SELECT FROM environments AS d WHERE d.environment = left(r.environment, 250)
        )
        ORDER BY 1
    );
BEGIN
    IF new_releases = '{}' AND new_environments = '{}' THEN
        RETURN;
    END IF;

    -- The mark is locked and not moved: that is for ingest_batch to do.
    INSERT INTO ingest_marks AS m (stream, seq, applied_at)
    VALUES (name_releases.stream, name_releases.seq - 1, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE SET seq = m.seq;
    LOCK TABLE ingest_gate IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO releases (release) SELECT r FROM unnest(new_releases) AS r ORDER BY 1 ON CONFLICT DO NOTHING;
    INSERT INTO environments (environment) SELECT r FROM unnest(new_environments) AS r ORDER BY 1
    ON CONFLICT DO NOTHING;
END
$$;

CREATE FUNCTION {schema}.apply_sessions(sessions jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    -- What has not been updated for so long is not in session_seen any more.
    remembered CONSTANT timestamptz := clock_timestamp() - interval '48 hours';
BEGIN
    WITH rows AS MATERIALIZED (
        SELECT
            r.sid, r.seq, r.init, r.started, r.state, r.exited, r.errored, r.crashed, r.abnormal, r.unhandled,
            d.release_id, coalesce(e.env_id, 0) AS env_id
        FROM jsonb_to_recordset(apply_sessions.sessions) AS r (
            sid uuid, seq bigint, init boolean, started timestamptz, state smallint, release text, environment text,
            exited bigint, errored bigint, crashed bigint, abnormal bigint, unhandled bigint
        )
        JOIN releases AS d ON d.release = left(r.release, 250)
        LEFT JOIN environments AS e ON e.environment = left(r.environment, 250)
    ), seen AS (
        -- The newest update is the session's state; of two with one number the worse.
        INSERT INTO session_seen AS s (sid, seq, started, release_id, env_id, state, counted, seen_at)
        SELECT DISTINCT ON (r.sid)
            r.sid, r.seq, r.started, r.release_id, r.env_id, r.state,
            bool_or(r.init) OVER (PARTITION BY r.sid) OR r.started > remembered, clock_timestamp()
        FROM rows AS r
        WHERE r.sid IS NOT NULL
        ORDER BY r.sid, r.seq DESC, r.state DESC
        ON CONFLICT (sid) DO UPDATE SET
            seq = excluded.seq, state = excluded.state, was = s.state, seen_at = excluded.seen_at
        WHERE s.seq < excluded.seq OR (s.seq = excluded.seq AND s.state < excluded.state)
        RETURNING s.started, s.release_id, s.env_id, s.state, coalesce(s.was, 0) AS was,
            s.was IS NULL AND s.counted AS added
    ), changes AS (
        -- By how much each update changes the counts of its hour.
        SELECT
            s.started, s.release_id, s.env_id, s.added::integer AS total,
            (s.state > 0)::integer - (s.was > 0)::integer AS errored,
            (s.state = 4)::integer - (s.was = 4)::integer AS crashed,
            (s.state = 3)::integer - (s.was = 3)::integer AS abnormal,
            (s.state = 2)::integer - (s.was = 2)::integer AS unhandled
        FROM seen AS s
        UNION ALL
        SELECT
            r.started, r.release_id, r.env_id, r.exited + r.errored + r.crashed + r.abnormal + r.unhandled,
            r.errored + r.crashed + r.abnormal + r.unhandled, r.crashed, r.abnormal, r.unhandled
        FROM rows AS r
        WHERE r.sid IS NULL
    )
    INSERT INTO sessions AS h (hour, release_id, env_id, total, errored, crashed, abnormal, unhandled)
    SELECT
        date_trunc('hour', c.started, 'UTC'), c.release_id, c.env_id, sum(c.total), sum(c.errored), sum(c.crashed),
        sum(c.abnormal), sum(c.unhandled)
    FROM changes AS c
    WHERE (c.total, c.errored, c.crashed, c.abnormal, c.unhandled) <> (0, 0, 0, 0, 0)
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (hour, release_id, env_id) DO UPDATE SET
        total = h.total + excluded.total, errored = h.errored + excluded.errored,
        crashed = h.crashed + excluded.crashed, abnormal = h.abnormal + excluded.abnormal,
        unhandled = h.unhandled + excluded.unhandled;

    INSERT INTO session_users AS u (hour, release_id, env_id, user_hash, errored, crashed, abnormal, unhandled)
    SELECT
        date_trunc('hour', r.started, 'UTC'), d.release_id, coalesce(e.env_id, 0), r.user_hash,
        bool_or(r.state > 0 OR r.errored + r.crashed + r.abnormal + r.unhandled > 0),
        bool_or(r.state = 4 OR r.crashed > 0), bool_or(r.state = 3 OR r.abnormal > 0),
        bool_or(r.state = 2 OR r.unhandled > 0)
    FROM jsonb_to_recordset(apply_sessions.sessions) AS r (
        started timestamptz, state smallint, release text, environment text, user_hash bigint, errored bigint,
        crashed bigint, abnormal bigint, unhandled bigint
    )
    JOIN releases AS d ON d.release = left(r.release, 250)
    LEFT JOIN environments AS e ON e.environment = left(r.environment, 250)
    WHERE r.user_hash IS NOT NULL
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (hour, release_id, env_id, user_hash) DO UPDATE SET
        errored = u.errored OR excluded.errored, crashed = u.crashed OR excluded.crashed,
        abnormal = u.abnormal OR excluded.abnormal, unhandled = u.unhandled OR excluded.unhandled
    WHERE (excluded.errored AND NOT u.errored) OR (excluded.crashed AND NOT u.crashed)
        OR (excluded.abnormal AND NOT u.abnormal) OR (excluded.unhandled AND NOT u.unhandled);
END
$$;

CREATE FUNCTION {schema}.apply_feedback(feedback jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO user_feedback (feedback_id, event_id, received_at, kind, name, email, message, url)
    SELECT r.feedback_id, r.event_id, r.received_at, r.kind, r.name, r.email, r.message, r.url
    FROM jsonb_to_recordset(apply_feedback.feedback) AS r (
        feedback_id uuid, event_id uuid, received_at timestamptz, kind text, name text, email text, message text,
        url text
    )
    ORDER BY r.feedback_id
    ON CONFLICT DO NOTHING;
END
$$;

CREATE FUNCTION {schema}.apply_outcomes(stream uuid, outcomes jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    own_part CONSTANT integer := get_byte(uuid_send(stream), 15) & 7;
    -- Reasons that clients report are their own words: after so many rows an hour the others are one.
    client_limit CONSTANT integer := 500;
    crowded_hours CONSTANT timestamptz[] := ARRAY(
        SELECT h.hour
        FROM (
            SELECT DISTINCT date_trunc('hour', r.received_at, 'UTC') AS hour
            FROM jsonb_to_recordset(apply_outcomes.outcomes) AS r (received_at timestamptz, outcome text)
            WHERE r.outcome = 'client_discard'
        ) AS h
        WHERE client_limit <= (
            SELECT count(*) FROM (
                SELECT FROM outcome_counts AS o WHERE o.hour = h.hour AND o.outcome = 'client_discard'
                LIMIT client_limit
            ) AS there
        )
    );
BEGIN
    INSERT INTO outcome_counts AS o (hour, outcome, key_id, category, reason, part, quantity)
    SELECT
        r.hour, r.outcome, r.key_id, CASE WHEN r.other THEN 'other' ELSE r.category END,
        CASE WHEN r.other THEN 'other' ELSE r.reason END, own_part, sum(r.quantity)
    FROM (
        SELECT
            k.*,
            k.outcome = 'client_discard' AND k.hour = ANY (crowded_hours) AND NOT EXISTS (
                SELECT FROM outcome_counts AS o
                WHERE (o.hour, o.outcome, o.key_id, o.category, o.reason, o.part)
                    = (k.hour, k.outcome, k.key_id, k.category, k.reason, own_part)
            ) AS other
        FROM (
            SELECT
                date_trunc('hour', r.received_at, 'UTC') AS hour, left(r.outcome, 64) AS outcome,
                coalesce(c.key_id, 0) AS key_id, left(r.category, 64) AS category, left(r.reason, 64) AS reason,
                r.quantity
            FROM jsonb_to_recordset(apply_outcomes.outcomes) AS r (
                received_at timestamptz, key text, category text, outcome text, reason text, quantity bigint
            )
            LEFT JOIN errortracking.client_keys AS c ON c.public_key = r.key AND c.project_id = {project}
        ) AS k
    ) AS r
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (hour, outcome, key_id, category, reason, part) DO UPDATE SET quantity = o.quantity + excluded.quantity;
END
$$;

-- Adds the events accepted with this batch to the windows that are asked for, those of browsers' reports too; the sums
-- over all writers, with those that have committed, but for the ones that the caller knows better.
CREATE FUNCTION {schema}.count_usage(stream uuid, outcomes jsonb, limits jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now_seconds CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()));
    usage jsonb;
BEGIN
    INSERT INTO key_usage_windows AS w (key_id, window_seconds, stream, window_start, events)
    SELECT
        coalesce(c.key_id, 0), l.window_seconds, count_usage.stream,
        to_timestamp(now_seconds - now_seconds % l.window_seconds),
        coalesce(sum(r.quantity), 0)
    FROM (
        SELECT DISTINCT l.key, l.window_seconds
        FROM jsonb_to_recordset(count_usage.limits) AS l (key text, window_seconds integer)
        WHERE l.window_seconds > 0
    ) AS l
    LEFT JOIN errortracking.client_keys AS c ON c.public_key = l.key AND c.project_id = {project}
    LEFT JOIN jsonb_to_recordset(count_usage.outcomes) AS r (key text, category text, outcome text, quantity bigint)
        ON r.outcome = 'accepted' AND r.category IN ('error', 'security') AND (l.key IS NULL OR r.key = l.key)
    WHERE l.key IS NULL OR c.key_id IS NOT NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (key_id, window_seconds, stream) DO UPDATE SET
        window_start = excluded.window_start,
        events = excluded.events + CASE WHEN w.window_start = excluded.window_start THEN w.events ELSE 0 END
    WHERE excluded.events > 0 OR w.window_start <> excluded.window_start;

    SELECT jsonb_agg(jsonb_build_object(
        'key', l.key, 'window_seconds', l.window_seconds,
        'window_start', now_seconds - now_seconds % l.window_seconds,
        'events', (
            SELECT coalesce(sum(w.events), 0) FROM key_usage_windows AS w
            WHERE w.key_id = coalesce(c.key_id, 0) AND w.window_seconds = l.window_seconds
                AND w.window_start = to_timestamp(now_seconds - now_seconds % l.window_seconds)
                AND w.stream <> ALL (coalesce(l.own_streams, '{}'))
        )
    ) ORDER BY l.n) INTO usage
    FROM ROWS FROM (jsonb_to_recordset(count_usage.limits) AS (key text, window_seconds integer, own_streams uuid[]))
        WITH ORDINALITY AS l (key, window_seconds, own_streams, n)
    LEFT JOIN errortracking.client_keys AS c ON c.public_key = l.key AND c.project_id = {project}
    WHERE l.window_seconds > 0 AND (l.key IS NULL OR c.key_id IS NOT NULL);
    RETURN usage;
END
$$;

-- The last four are lists of objects; NULL: nothing of that kind, which costs nothing.
CREATE FUNCTION {schema}.ingest(
    stream uuid, seq bigint,
    event_ids uuid[], received_ats timestamptz[], timestamps timestamptz[], levels smallint[],
    kinds text[], titles text[], culprits text[], exception_types text[], exception_values text[],
    platforms text[], release_names text[], environment_names text[], user_hashes bigint[],
    grouping_versions smallint[], grouping_hashes bytea[], payloads bytea[],
    tag_rows integer[], tag_names text[], tag_values text[], tag_hashes bigint[],
    sessions jsonb, feedback jsonb, outcomes jsonb, limits jsonb
) RETURNS TABLE (applied boolean, stored bigint, duplicates bigint, usage jsonb)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    IF sessions IS NOT NULL THEN
        PERFORM name_releases(stream, seq, sessions);
    END IF;

    SELECT b.applied, b.stored, b.duplicates INTO applied, stored, duplicates
    FROM ingest_batch(
        stream, seq, event_ids, received_ats, timestamps, levels, kinds, titles, culprits, exception_types,
        exception_values, platforms, release_names, environment_names, user_hashes, grouping_versions, grouping_hashes,
        payloads, tag_rows, tag_names, tag_values, tag_hashes
    ) AS b;

    IF applied THEN
        IF sessions IS NOT NULL THEN
            PERFORM apply_sessions(sessions);
        END IF;
        IF feedback IS NOT NULL THEN
            PERFORM apply_feedback(feedback);
        END IF;
        IF outcomes IS NOT NULL THEN
            PERFORM apply_outcomes(stream, outcomes);
        END IF;
        IF limits IS NOT NULL THEN
            usage := count_usage(stream, outcomes, limits);
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

-- Who may store events now may at once store what comes beside them.
DO $$
DECLARE
    login regrole;
BEGIN
    FOR login IN
        SELECT a.grantee::regrole
        FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a
        WHERE f.oid = '{schema}.ingest_batch'::regproc AND a.privilege_type = 'EXECUTE'
            AND a.grantee NOT IN (0, f.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.ingest TO %s', login);
    END LOOP;
END
$$;
