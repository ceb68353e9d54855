-- Stores a batch within the limits of floods, looks for repeated events in the neighbours of a partition only where one
-- can be, and leaves to the files after it which issues events reopen, and how they are counted by environment.
-- Arguments and columns are those of before.
--
-- Locks are taken in one order by every caller: mark, gate, releases, environments, issue numbers, events by id,
-- users, tags, hours, environments of issues, their hours, counters by issue, issues, outcomes of limits; each sorted,
-- and what of a limit was taken before what it counts.
CREATE OR REPLACE FUNCTION {schema}.ingest_batch(
    stream uuid, seq bigint,
    event_ids uuid[], received_ats timestamptz[], timestamps timestamptz[], levels smallint[],
    kinds text[], titles text[], culprits text[], exception_types text[], exception_values text[],
    platforms text[], release_names text[], environment_names text[], user_hashes bigint[],
    grouping_versions smallint[], grouping_hashes bytea[], payloads bytea[],
    -- One element a tag; rows are positions in the arrays above, from 1.
    tag_rows integer[], tag_names text[], tag_values text[], tag_hashes bigint[]
) RETURNS TABLE (applied boolean, stored bigint, duplicates bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    size CONSTANT bigint := cardinality(event_ids);
    first_number CONSTANT bigint := {project}::bigint << 32;
    value_limit CONSTANT integer := 500;
    -- Title of an event that says nothing about itself: it does not replace a real one.
    unlabeled CONSTANT text := '<unlabeled event>';
    -- Clients try again within minutes. The same event that comes later, over a boundary, is another one.
    repeated_within CONSTANT interval := '1 hour';
    -- No grouping has this version: the issue of the events whose own would be one too many.
    overflow_version CONSTANT smallint := 0;
    overflow_hash CONSTANT bytea := decode(repeat('00', 32), 'hex');
    overflow_title CONSTANT text := 'Events beyond the limit of new issues an hour';
    this_hour CONSTANT timestamptz := date_trunc('hour', clock_timestamp(), 'UTC');
    earliest timestamptz;
    latest timestamptz;
    lowest integer;
    highest integer;
    neighbour name;
    found_ids uuid[];
    known_ids uuid[];
    keep boolean[];
    incomplete boolean;
    kept bigint;
    number bigint;
    created bigint := 0;
    room integer;
    added bigint;
    overflow bigint;
    -- Some releases or environments have no number.
    unnamed boolean := false;
    -- Rows with a tag that has no key.
    untagged integer[];
    -- Issues that take no new users now.
    crowded bigint[];
    issue_ids bigint[];
    release_ids integer[];
    env_ids integer[];
    new_users bigint[];
BEGIN
    -- What is answered with 200 is on disk, whatever this database does otherwise.
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- What another writer has committed must be seen after its lock was waited for.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'ingest_batch runs in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;

    -- mark
    INSERT INTO ingest_marks AS m (stream, seq, applied_at)
    VALUES (ingest_batch.stream, ingest_batch.seq, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, applied_at = excluded.applied_at
    WHERE m.seq < excluded.seq;
    IF NOT FOUND OR size = 0 THEN
        RETURN QUERY SELECT FOUND, 0::bigint, 0::bigint;
        RETURN;
    END IF;

    -- partitions and gate
    SELECT min(r), max(r) INTO earliest, latest FROM unnest(received_ats) AS r;
    IF latest > clock_timestamp() + interval '1 day' THEN
        RAISE EXCEPTION 'received_at % is in the future', latest USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM FROM partitions AS p WHERE p.to_at > latest;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no partition of {schema}.events for %', latest USING ERRCODE = 'ETP01';
    END IF;
    SELECT min(p.n), max(p.n) INTO lowest, highest
    FROM partitions AS p WHERE p.to_at > earliest AND p.from_at <= latest;
    IF lowest < highest THEN
        LOCK TABLE ingest_gate IN SHARE ROW EXCLUSIVE MODE;
    ELSIF lowest % 2 = 0 THEN
        LOCK TABLE ingest_gate IN ROW EXCLUSIVE MODE;
    ELSE
        LOCK TABLE ingest_gate IN SHARE MODE;
    END IF;

    -- duplicates within the batch, then in the partitions beside, if those are near; the own one has a unique index
    IF size = (SELECT count(DISTINCT r) FROM unnest(event_ids) AS r) THEN
        keep := array_fill(true, ARRAY[size::integer]);
    ELSE
        SELECT array_agg(r.nth = 1 ORDER BY r.n) INTO keep
        FROM (
            SELECT e.n, row_number() OVER (PARTITION BY e.event_id ORDER BY e.n) AS nth
            FROM unnest(event_ids) WITH ORDINALITY AS e (event_id, n)
        ) AS r;
    END IF;
    FOR neighbour IN
        SELECT p.relname FROM partitions AS p
        WHERE p.n BETWEEN lowest - 1 AND highest + 1 AND (lowest < highest OR p.n <> lowest)
            AND p.to_at > earliest - repeated_within AND p.from_at <= latest + repeated_within
            -- Nothing is accepted later than that, see above.
            AND p.from_at <= clock_timestamp() + interval '1 day'
    LOOP
        EXECUTE format('SELECT array_agg(event_id) FROM {schema}.%I WHERE event_id = ANY ($1)', neighbour)
        INTO found_ids USING event_ids;
        known_ids := known_ids || found_ids;
    END LOOP;
    IF known_ids IS NOT NULL THEN
        SELECT array_agg(r.keep AND r.event_id <> ALL (known_ids) ORDER BY r.n) INTO keep
        FROM unnest(keep, event_ids) WITH ORDINALITY AS r (keep, event_id, n);
    END IF;

    -- dictionaries; what is one too many has no number, and the payload names it
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(d.release_id ORDER BY r.n), bool_or(r.name IS NOT NULL AND d.release_id IS NULL)
        INTO release_ids, incomplete
        FROM unnest(release_names) WITH ORDINALITY AS r (name, n)
        LEFT JOIN releases AS d ON d.release = left(r.name, 250);
        EXIT WHEN NOT incomplete OR attempt = 2;
        room := room_for('releases');
        EXIT WHEN room = 0;
        INSERT INTO releases (release)
        SELECT DISTINCT left(r, 250) FROM unnest(release_names) AS r
        WHERE r IS NOT NULL AND NOT EXISTS (SELECT FROM releases AS d WHERE d.release = left(r, 250))
        ORDER BY 1
        LIMIT room
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        UPDATE flood_limits SET taken = taken + added, total = total + added WHERE kind = 'releases';
    END LOOP;
    unnamed := unnamed OR incomplete;
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(d.env_id ORDER BY r.n), bool_or(r.name IS NOT NULL AND d.env_id IS NULL)
        INTO env_ids, incomplete
        FROM unnest(environment_names) WITH ORDINALITY AS r (name, n)
        LEFT JOIN environments AS d ON d.environment = left(r.name, 250);
        EXIT WHEN NOT incomplete OR attempt = 2;
        room := room_for('environments');
        EXIT WHEN room = 0;
        INSERT INTO environments (environment)
        SELECT DISTINCT left(r, 250) FROM unnest(environment_names) AS r
        WHERE r IS NOT NULL AND NOT EXISTS (SELECT FROM environments AS d WHERE d.environment = left(r, 250))
        ORDER BY 1
        LIMIT room
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        UPDATE flood_limits SET taken = taken + added, total = total + added WHERE kind = 'environments';
    END LOOP;
    unnamed := unnamed OR incomplete;

    -- issues: those who make new ones do so one after the other, and look again when it is their turn; one too many
    -- is not made
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(h.issue_id ORDER BY r.n), bool_or(r.keep AND h.issue_id IS NULL)
        INTO issue_ids, incomplete
        FROM unnest(grouping_versions, grouping_hashes, keep) WITH ORDINALITY AS r (version, hash, keep, n)
        LEFT JOIN issue_hashes AS h ON h.version = r.version AND h.hash = r.hash;
        EXIT WHEN NOT incomplete OR attempt = 2;
        room := room_for('issues');
        EXIT WHEN room = 0;

        SELECT i.last INTO number FROM issue_numbers AS i FOR UPDATE;
        WITH missing AS (
            SELECT
                r.version, r.hash, min(r.n) AS first_n, (array_agg(r.n ORDER BY r.ts DESC, r.n DESC))[1] AS last_n,
                (array_agg(r.release_id ORDER BY r.ts, r.n))[1] AS first_release_id
            FROM unnest(grouping_versions, grouping_hashes, keep, timestamps, release_ids)
                WITH ORDINALITY AS r (version, hash, keep, ts, release_id, n)
            WHERE r.keep AND NOT EXISTS (
                SELECT FROM issue_hashes AS h WHERE h.version = r.version AND h.hash = r.hash
            )
            GROUP BY r.version, r.hash
        ), numbered AS MATERIALIZED (
            SELECT first_number | (number + row_number() OVER (ORDER BY m.first_n)) AS issue_id, m.*
            FROM missing AS m
            ORDER BY m.first_n
            LIMIT room
        ), hashes AS (
            INSERT INTO issue_hashes (version, hash, issue_id)
            SELECT m.version, m.hash, m.issue_id FROM numbered AS m
        ), texts AS (
            INSERT INTO issues (
                issue_id, kind, level, title, culprit, exception_type, exception_value, platform, first_release_id
            )
            SELECT
                m.issue_id, kinds[m.last_n], levels[m.last_n], titles[m.last_n], culprits[m.last_n],
                exception_types[m.last_n], exception_values[m.last_n], platforms[m.last_n], m.first_release_id
            FROM numbered AS m
        )
        SELECT count(*) INTO created FROM numbered;
        UPDATE issue_numbers SET last = number + created;
        UPDATE flood_limits SET taken = taken + created, total = total + created WHERE kind = 'issues';
    END LOOP;
    IF incomplete THEN
        FOR attempt IN 1..2 LOOP
            SELECT h.issue_id INTO overflow FROM issue_hashes AS h
            WHERE h.version = overflow_version AND h.hash = overflow_hash;
            EXIT WHEN overflow IS NOT NULL OR attempt = 2;
            SELECT i.last - created INTO number FROM issue_numbers AS i FOR UPDATE;
        END LOOP;
        IF overflow IS NULL THEN
            created := created + 1;
            overflow := first_number | (number + created);
            INSERT INTO issue_hashes (version, hash, issue_id) VALUES (overflow_version, overflow_hash, overflow);
            INSERT INTO issues (issue_id, kind, level, title, culprit, platform)
            VALUES (overflow, 'default', 30, overflow_title, '', 'other');
            UPDATE issue_numbers SET last = number + created;
        END IF;
        SELECT array_agg(coalesce(r.issue_id, overflow) ORDER BY r.n) INTO issue_ids
        FROM unnest(issue_ids) WITH ORDINALITY AS r (issue_id, n);
    END IF;

    -- events; a concurrent writer of the same id is waited for
    WITH inserted AS (
        INSERT INTO events (received_at, event_id, issue_id, ts, level, release_id, env_id, user_hash, payload)
        SELECT
            r.received_at, r.event_id, r.issue_id, r.ts, r.level, r.release_id, r.env_id, r.user_hash, r.payload
        FROM unnest(
            received_ats, event_ids, issue_ids, timestamps, levels, release_ids, env_ids, user_hashes, payloads, keep
        ) AS r (received_at, event_id, issue_id, ts, level, release_id, env_id, user_hash, payload, keep)
        WHERE r.keep
        ON CONFLICT DO NOTHING
        RETURNING event_id
    )
    SELECT array_agg(i.event_id), count(*) INTO found_ids, stored FROM inserted AS i;

    applied := true;
    duplicates := size - stored;
    kept := cardinality(array_positions(keep, true));
    IF stored < kept THEN
        SELECT array_agg(r.keep AND r.event_id = ANY (coalesce(found_ids, '{}')) ORDER BY r.n) INTO keep
        FROM unnest(keep, event_ids) WITH ORDINALITY AS r (keep, event_id, n);
        IF created > 0 THEN
            -- An issue of this batch whose every event was a duplicate is none.
            WITH empty AS (
                DELETE FROM issues AS i
                WHERE i.issue_id > (first_number | number) AND i.issue_id <= (first_number | (number + created))
                    AND NOT EXISTS (
                        SELECT FROM unnest(issue_ids, keep) AS r (issue_id, keep)
                        WHERE r.keep AND r.issue_id = i.issue_id
                    )
                RETURNING i.issue_id
            )
            DELETE FROM issue_hashes AS h USING empty AS e WHERE h.issue_id = e.issue_id;
        END IF;
        IF stored = 0 THEN
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    -- users: no lock is held over the look at the counters, so that each writer may add a batch too many
    WITH pairs AS MATERIALIZED (
        SELECT DISTINCT r.issue_id, r.user_hash
        FROM unnest(issue_ids, user_hashes, keep) AS r (issue_id, user_hash, keep)
        WHERE r.keep AND r.user_hash IS NOT NULL
    ), full_issues AS MATERIALIZED (
        SELECT c.issue_id
        FROM (SELECT DISTINCT p.issue_id FROM pairs AS p) AS p
        JOIN issue_counters AS c ON c.issue_id = p.issue_id
        JOIN flood_limits AS l ON l.kind = 'users'
        WHERE c.users >= l.in_all OR (c.users_hour = this_hour AND c.users_in_hour >= l.an_hour)
    ), inserted AS (
        INSERT INTO issue_users (issue_id, user_hash)
        SELECT p.issue_id, p.user_hash
        FROM pairs AS p
        WHERE p.issue_id NOT IN (SELECT f.issue_id FROM full_issues AS f)
        ORDER BY 1, 2
        ON CONFLICT DO NOTHING
        RETURNING issue_id
    )
    SELECT (SELECT array_agg(i.issue_id) FROM inserted AS i), (SELECT array_agg(f.issue_id) FROM full_issues AS f)
    INTO new_users, crowded;

    -- tags: pairs that are not there yet; values over the limit become one row for all of them
    IF cardinality(tag_rows) > 0 THEN
        IF EXISTS (
            SELECT FROM unnest(tag_names) AS r WHERE NOT EXISTS (SELECT FROM tag_keys AS k WHERE k.key = left(r, 200))
        ) THEN
            room := room_for('tags');
            IF room > 0 THEN
                INSERT INTO tag_keys (key)
                SELECT DISTINCT left(r, 200) FROM unnest(tag_names) AS r
                WHERE NOT EXISTS (SELECT FROM tag_keys AS k WHERE k.key = left(r, 200))
                ORDER BY 1
                LIMIT room
                ON CONFLICT DO NOTHING;
                GET DIAGNOSTICS added = ROW_COUNT;
                UPDATE flood_limits SET taken = taken + added, total = total + added WHERE kind = 'tags';
            END IF;
            SELECT array_agg(t.row) INTO untagged
            FROM unnest(tag_rows, tag_names) AS t (row, name)
            WHERE NOT EXISTS (SELECT FROM tag_keys AS k WHERE k.key = left(t.name, 200));
        END IF;

        WITH pairs AS (
            SELECT
                issue_ids[t.row] AS issue_id, k.key_id, t.hash, min(t.value) AS value,
                min(timestamps[t.row]) AS first_seen
            FROM unnest(tag_rows, tag_names, tag_values, tag_hashes) AS t (row, name, value, hash)
            JOIN tag_keys AS k ON k.key = left(t.name, 200)
            WHERE keep[t.row]
            GROUP BY 1, 2, 3
        ), fresh AS (
            SELECT p.*, row_number() OVER (PARTITION BY p.issue_id, p.key_id ORDER BY p.hash) AS nth
            FROM pairs AS p
            WHERE NOT EXISTS (
                SELECT FROM issue_tags AS i
                WHERE i.issue_id = p.issue_id AND i.key_id = p.key_id AND i.value_hash IN (0, p.hash)
            )
        ), bounded AS (
            SELECT f.*, f.nth + (
                SELECT count(*) FROM (
                    SELECT FROM issue_tags AS i WHERE i.issue_id = f.issue_id AND i.key_id = f.key_id LIMIT value_limit
                ) AS there
            ) > value_limit AS other
            FROM fresh AS f
        )
        INSERT INTO issue_tags (issue_id, key_id, value_hash, value, first_seen)
        SELECT
            b.issue_id, b.key_id, CASE WHEN b.other THEN 0 ELSE b.hash END,
            CASE WHEN b.other THEN NULL ELSE left(b.value, 200) END, b.first_seen
        FROM bounded AS b
        ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING;
    END IF;

    -- hours
    INSERT INTO issue_hours AS h (issue_id, hour, events)
    SELECT r.issue_id, date_trunc('hour', r.ts, 'UTC'), count(*)
    FROM unnest(issue_ids, timestamps, keep) AS r (issue_id, ts, keep)
    WHERE r.keep
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (issue_id, hour) DO UPDATE SET events = h.events + excluded.events;

    PERFORM count_environments(issue_ids, timestamps, env_ids, release_ids, keep);

    -- counters
    INSERT INTO issue_counters AS c (
        issue_id, events, users, first_seen, last_seen, latest_received_at, latest_event_id, users_hour, users_in_hour
    )
    SELECT
        r.issue_id, count(r.event_id), count(*) - count(r.event_id), min(r.ts), max(r.ts), max(r.received_at),
        (array_agg(r.event_id ORDER BY r.received_at DESC NULLS LAST, r.event_id))[1],
        CASE WHEN count(*) > count(r.event_id) THEN this_hour END, count(*) - count(r.event_id)
    FROM (
        SELECT e.issue_id, e.event_id, e.ts, e.received_at
        FROM unnest(issue_ids, event_ids, timestamps, received_ats, keep)
            AS e (issue_id, event_id, ts, received_at, keep)
        WHERE e.keep
        UNION ALL
        SELECT u, NULL, NULL, NULL FROM unnest(new_users) AS u
    ) AS r
    GROUP BY r.issue_id
    ORDER BY r.issue_id
    ON CONFLICT (issue_id) DO UPDATE SET
        events = c.events + excluded.events,
        users = c.users + excluded.users,
        first_seen = least(c.first_seen, excluded.first_seen),
        last_seen = greatest(c.last_seen, excluded.last_seen),
        latest_received_at = greatest(c.latest_received_at, excluded.latest_received_at),
        latest_event_id = CASE
            WHEN excluded.latest_received_at > c.latest_received_at THEN excluded.latest_event_id
            ELSE c.latest_event_id
        END,
        users_hour = coalesce(excluded.users_hour, c.users_hour),
        users_in_hour = excluded.users_in_hour + CASE
            WHEN excluded.users_hour IS NULL OR excluded.users_hour = c.users_hour THEN c.users_in_hour ELSE 0
        END;

    -- issues that events may reopen; most are unresolved and shown, and then this is one look at their rows
    PERFORM FROM (
        SELECT DISTINCT e.issue_id FROM unnest(issue_ids, keep) AS e (issue_id, keep) WHERE e.keep
    ) AS r
    JOIN issues AS i ON i.issue_id = r.issue_id
    WHERE i.status <> 'unresolved' OR i.is_hidden
    LIMIT 1;
    IF FOUND THEN
        PERFORM reopen_issues(issue_ids, received_ats, release_ids, keep);
    END IF;

    -- issues: text of the newest event, if that came with this batch; the counters' locks are held. The one that holds
    -- what is one too many keeps its own.
    UPDATE issues AS i SET
        kind = r.kind, level = r.level, title = CASE WHEN r.title = unlabeled THEN i.title ELSE r.title END,
        culprit = r.culprit, exception_type = r.exception_type, exception_value = r.exception_value,
        platform = r.platform
    FROM (
        SELECT DISTINCT ON (e.issue_id) e.*
        FROM unnest(
            issue_ids, timestamps, kinds, levels, titles, culprits, exception_types, exception_values, platforms, keep
        ) WITH ORDINALITY AS e (
            issue_id, ts, kind, level, title, culprit, exception_type, exception_value, platform, keep, n
        )
        WHERE e.keep AND e.issue_id IS DISTINCT FROM overflow
        ORDER BY e.issue_id, e.ts DESC, e.n DESC
    ) AS r
    JOIN issue_counters AS c ON c.issue_id = r.issue_id AND c.last_seen = r.ts
    WHERE i.issue_id = r.issue_id
        AND (i.kind, i.level, i.title, i.culprit, i.exception_type, i.exception_value, i.platform)
        IS DISTINCT FROM (
            r.kind, r.level, CASE WHEN r.title = unlabeled THEN i.title ELSE r.title END, r.culprit,
            r.exception_type, r.exception_value, r.platform
        );

    -- limits that were met
    IF unnamed OR overflow IS NOT NULL OR untagged IS NOT NULL OR crowded IS NOT NULL THEN
        PERFORM note_limited(
            ingest_batch.stream, array_agg('limited'::text), array_agg(m.category), array_agg(m.kind),
            array_agg(m.events)
        )
        FROM (
            SELECT CASE WHEN r.kind = 'csp' THEN 'security' ELSE 'error' END AS category, l.kind, count(*) AS events
            FROM unnest(
                keep, kinds, issue_ids, release_names, release_ids, environment_names, env_ids, user_hashes
            ) WITH ORDINALITY AS r (
                keep, kind, issue_id, release, release_id, environment, env_id, user_hash, n
            )
            CROSS JOIN LATERAL (VALUES
                ('issues', r.issue_id = overflow),
                ('releases', r.release IS NOT NULL AND r.release_id IS NULL),
                ('environments', r.environment IS NOT NULL AND r.env_id IS NULL),
                ('tags', r.n = ANY (untagged)),
                ('users', r.issue_id = ANY (crowded) AND r.user_hash IS NOT NULL AND NOT EXISTS (
                    SELECT FROM issue_users AS u WHERE u.issue_id = r.issue_id AND u.user_hash = r.user_hash
                ))
            ) AS l (kind, is_met)
            WHERE r.keep AND l.is_met
            GROUP BY 1, 2
        ) AS m
        HAVING count(*) > 0;
    END IF;

    RETURN NEXT;
END
$$;
