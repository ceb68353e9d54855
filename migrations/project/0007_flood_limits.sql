-- Bounds what a flood can make in an hour. Whoever reads a DSN out of a page can send any number of fingerprints,
-- releases, environments, tags and users. What is one too many is stored all the same, in a form that makes nothing
-- new: the event joins one issue for all such events, its release has no number, its tag no key, and its user is not
-- counted.

-- The limits, and what of them was taken. Whoever makes something new locks a row until that is committed; in the order
-- of locks it is before what it counts. A batch without anything new does not touch the table, and where a limit is
-- reached nobody waits.
CREATE TABLE {schema}.flood_limits (
    kind text PRIMARY KEY,
    an_hour integer NOT NULL,
    -- NULL: those of every hour.
    in_all integer,
    hour timestamptz NOT NULL DEFAULT '-infinity',
    taken integer NOT NULL DEFAULT 0,
    -- Of all hours. Retention takes off what it removes where in_all counts.
    total bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO {schema}.flood_limits (kind, an_hour, in_all, total) VALUES
    ('issues', 1000, NULL, 0),
    ('releases', 500, NULL, 0),
    ('environments', 200, NULL, 0),
    ('tags', 500, 10000, (SELECT count(*) FROM {schema}.tag_keys)),
    -- Of each issue, whose counters have what was taken.
    ('users', 100000, 1000000, 0);

INSERT INTO errortracking.floods (project_id, kind) SELECT {project}, kind FROM {schema}.flood_limits
ON CONFLICT DO NOTHING;

ALTER TABLE {schema}.issue_counters
    -- The last hour with new users, and how many it has.
    ADD COLUMN users_hour timestamptz,
    ADD COLUMN users_in_hour bigint NOT NULL DEFAULT 0;

-- Whether anything new of the kind may be made in this hour, without a lock.
CREATE FUNCTION {schema}.has_room(kind text) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- Another hour, also an earlier one: a clock that was ahead must not freeze a limit.
    RETURN EXISTS (
        SELECT FROM flood_limits AS l
        WHERE l.kind = has_room.kind AND (l.hour <> date_trunc('hour', clock_timestamp(), 'UTC') OR l.taken < l.an_hour)
            AND (l.in_all IS NULL OR l.total < l.in_all)
    );
END
$$;

-- How many new ones of the kind may be made in this hour. Unless that is none, nobody else makes any until the caller
-- commits; the caller adds what it made to taken and total.
CREATE FUNCTION {schema}.room_for(kind text) RETURNS integer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    this_hour CONSTANT timestamptz := date_trunc('hour', clock_timestamp(), 'UTC');
    room bigint;
BEGIN
    IF NOT has_room(room_for.kind) THEN
        RETURN 0;
    END IF;
    UPDATE flood_limits AS l SET hour = this_hour, taken = CASE WHEN l.hour = this_hour THEN l.taken ELSE 0 END
    WHERE l.kind = room_for.kind
    RETURNING least(l.an_hour - l.taken, l.in_all - l.total) INTO room;
    RETURN greatest(room, 0);
END
$$;

-- Says what met limits: an outcome for each, and every ten seconds a word for the status of the project. In the order
-- of locks after everything that a batch counts of events, or of sessions; nothing else writes outcomes of these
-- reasons. The word waits for nobody: a row that another batch writes is left to that one.
CREATE FUNCTION {schema}.note_limited(
    stream uuid, outcomes text[], categories text[], kinds text[], quantities bigint[]
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    noted_at CONSTANT timestamptz := clock_timestamp();
    this_hour CONSTANT timestamptz := date_trunc('hour', noted_at, 'UTC');
    own_part CONSTANT integer := get_byte(uuid_send(stream), 15) & 7;
BEGIN
    INSERT INTO outcome_counts AS o (hour, outcome, key_id, category, reason, part, quantity)
    SELECT this_hour, r.outcome, 0, r.category, 'too_many_' || r.kind, own_part, r.quantity
    FROM unnest(outcomes, categories, kinds, quantities) AS r (outcome, category, kind, quantity)
    ORDER BY 2, 4, 5
    ON CONFLICT (hour, outcome, key_id, category, reason, part) DO UPDATE SET quantity = o.quantity + excluded.quantity;

    UPDATE errortracking.floods AS f SET
        an_hour = l.an_hour, last_at = noted_at,
        since = CASE WHEN f.last_at BETWEEN noted_at - interval '1 hour' AND noted_at THEN f.since ELSE noted_at END,
        met = (
            SELECT sum(o.quantity) FROM outcome_counts AS o
            WHERE o.hour = this_hour AND o.outcome IN ('dropped', 'limited') AND o.key_id = 0
                AND o.reason = 'too_many_' || l.kind
        )
    FROM flood_limits AS l
    WHERE f.project_id = {project} AND f.kind = l.kind AND l.kind = ANY (ARRAY(
        SELECT s.kind FROM errortracking.floods AS s
        WHERE s.project_id = {project} AND s.kind = ANY (kinds)
            AND s.last_at NOT BETWEEN noted_at - interval '10 seconds' AND noted_at
        FOR UPDATE SKIP LOCKED
    ));
END
$$;

-- As before, within the limits. A session whose release has no number counts nowhere; an environment that has none is
-- left out.
CREATE OR REPLACE FUNCTION {schema}.name_releases(stream uuid, seq bigint, sessions jsonb) RETURNS void
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
    added bigint;
BEGIN
    IF (new_releases = '{}' OR NOT has_room('releases'))
        AND (new_environments = '{}' OR NOT has_room('environments'))
    THEN
        RETURN;
    END IF;

    -- The mark is locked and not moved: that is for ingest_batch to do.
    INSERT INTO ingest_marks AS m (stream, seq, applied_at)
    VALUES (name_releases.stream, name_releases.seq - 1, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE SET seq = m.seq;
    LOCK TABLE ingest_gate IN SHARE ROW EXCLUSIVE MODE;
    IF new_releases <> '{}' THEN
        INSERT INTO releases (release)
        SELECT r FROM unnest(new_releases) AS r
        WHERE NOT EXISTS (SELECT FROM releases AS d WHERE d.release = r)
        ORDER BY 1 LIMIT room_for('releases')
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        UPDATE flood_limits SET taken = taken + added, total = total + added WHERE kind = 'releases';
    END IF;
    IF new_environments <> '{}' THEN
        INSERT INTO environments (environment)
        SELECT r FROM unnest(new_environments) AS r
        WHERE NOT EXISTS (SELECT FROM environments AS d WHERE d.environment = r)
        ORDER BY 1 LIMIT room_for('environments')
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        UPDATE flood_limits SET taken = taken + added, total = total + added WHERE kind = 'environments';
    END IF;
END
$$;

-- Counts the sessions that name what was one too many.
CREATE FUNCTION {schema}.note_unnamed_sessions(stream uuid, sessions jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF has_room('releases') AND has_room('environments') THEN
        RETURN;
    END IF;
    PERFORM note_limited(
        note_unnamed_sessions.stream, array_agg(m.outcome), array_agg('session'::text), array_agg(m.kind),
        array_agg(m.quantity)
    )
    FROM (
        SELECT
            l.outcome, l.kind,
            sum(
                CASE WHEN r.sid IS NULL THEN r.exited + r.errored + r.crashed + r.abnormal + r.unhandled ELSE 1 END
            )::bigint AS quantity
        FROM jsonb_to_recordset(note_unnamed_sessions.sessions) AS r (
            sid uuid, release text, environment text, exited bigint, errored bigint, crashed bigint, abnormal bigint,
            unhandled bigint
        )
        LEFT JOIN releases AS d ON d.release = left(r.release, 250)
        LEFT JOIN environments AS e ON e.environment = left(r.environment, 250)
        CROSS JOIN LATERAL (VALUES
            ('dropped', 'releases', d.release_id IS NULL),
            ('limited', 'environments', d.release_id IS NOT NULL AND r.environment IS NOT NULL AND e.env_id IS NULL)
        ) AS l (outcome, kind, is_met)
        WHERE l.is_met
        GROUP BY 1, 2
    ) AS m
    HAVING count(*) > 0;
END
$$;

-- The last four are lists of objects; NULL: nothing of that kind, which costs nothing.
CREATE OR REPLACE FUNCTION {schema}.ingest(
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
            PERFORM note_unnamed_sessions(stream, sessions);
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
