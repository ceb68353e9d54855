-- What the console calls to act on issues, and to undo that. Its login writes nothing else: activity is only added to.
--
-- Locks are taken in one order: actions, issue numbers, issues by id, and then what hangs on their rows. Ingest comes
-- to issue numbers and issues in the same order, and never to actions. What changes which issues are shown (delete,
-- merge and undo) has the actions alone, so that merges and deletions hold still meanwhile.

-- Locks issues in the order in which ingest does.
CREATE FUNCTION {schema}.lock_issues(issue_ids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM issues AS i WHERE i.issue_id = ANY (issue_ids) ORDER BY i.issue_id FOR NO KEY UPDATE;
END
$$;

-- Why nothing can be done to issues, which are locked; NULL: it can. One row for each.
CREATE FUNCTION {schema}.refused_issues(issue_ids bigint[]) RETURNS TABLE (issue_id bigint, refused text)
LANGUAGE sql STABLE SET search_path = pg_catalog, {schema}, pg_temp AS $$
    SELECT a.issue_id, CASE
        WHEN i.issue_id IS NULL OR t.deleted_at IS NOT NULL THEN 'gone'
        WHEN t.merged_into IS NOT NULL THEN 'merged'
    END
    FROM unnest(issue_ids) AS a (issue_id)
    LEFT JOIN issues AS i ON i.issue_id = a.issue_id
    LEFT JOIN issue_triage AS t ON t.issue_id = a.issue_id
$$;

-- Resolves, ignores or reopens issues.
CREATE FUNCTION {schema}.set_status(
    batch uuid, acted_at timestamptz, actor text, action text, details jsonb, issue_ids bigint[]
) RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE sql SET search_path = pg_catalog, {schema}, pg_temp AS $$
    WITH found AS MATERIALIZED (
        SELECT
            a.issue_id, a.refused, i.status AS old_status, t.issue_id IS NOT NULL AS has_triage,
            status_state(
                i.status, i.status_changed_at, t.resolved_in, t.resolved_in_next, t.ignored_until,
                t.ignored_until_events, t.ignored_until_users
            ) AS before,
            CASE action WHEN 'resolve' THEN 'resolved' WHEN 'ignore' THEN 'ignored' ELSE 'unresolved' END AS status,
            CASE WHEN details ->> 'in' = 'current' THEN (
                -- Of the last event of all that count for it, whichever release others of them had.
                SELECT r.release
                FROM (
                    SELECT c.latest_received_at, c.latest_event_id
                    FROM issue_counters AS c
                    WHERE c.issue_id = i.issue_id OR c.issue_id = ANY (n.merged)
                    ORDER BY c.latest_received_at DESC
                    LIMIT 1
                ) AS l
                JOIN events AS e ON e.received_at = l.latest_received_at AND e.event_id = l.latest_event_id
                JOIN releases AS r ON r.release_id = e.release_id
            ) ELSE left(details ->> 'release', 250) END AS resolved_in,
            coalesce(details ->> 'in' = 'next', false) AS resolved_in_next,
            (details ->> 'until')::timestamptz AS ignored_until,
            CASE WHEN details ? 'events' THEN (
                SELECT sum(c.events)::bigint + (details ->> 'events')::bigint
                FROM issue_counters AS c WHERE c.issue_id = i.issue_id OR c.issue_id = ANY (n.merged)
            ) END AS ignored_until_events,
            CASE WHEN details ? 'users' THEN (
                SELECT sum(c.users)::bigint + (details ->> 'users')::bigint
                FROM issue_counters AS c WHERE c.issue_id = i.issue_id OR c.issue_id = ANY (n.merged)
            ) END AS ignored_until_users
        FROM refused_issues(issue_ids) AS a
        LEFT JOIN issues AS i ON i.issue_id = a.issue_id
        LEFT JOIN issue_triage AS t ON t.issue_id = a.issue_id
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT m.issue_id FROM issue_triage AS m WHERE m.merged_into = a.issue_id) AS merged
        ) AS n
    ), decided AS MATERIALIZED (
        SELECT
            f.*, status_state(
                f.status, acted_at, f.resolved_in, f.resolved_in_next, f.ignored_until, f.ignored_until_events,
                f.ignored_until_users
            ) AS after,
            CASE
                WHEN f.refused IS NOT NULL THEN f.refused
                WHEN details ->> 'in' = 'current' AND f.resolved_in IS NULL THEN 'without_release'
                WHEN f.before - 'since' = status_state(
                    f.status, NULL, f.resolved_in, f.resolved_in_next, f.ignored_until, f.ignored_until_events,
                    f.ignored_until_users
                ) THEN 'unchanged'
                ELSE 'changed'
            END AS outcome
        FROM found AS f
    ), changed AS (
        UPDATE issues AS i SET status = d.status, status_changed_at = acted_at
        FROM decided AS d WHERE d.outcome = 'changed' AND i.issue_id = d.issue_id
    ), ruled AS (
        INSERT INTO issue_triage (
            issue_id, resolved_in, resolved_in_next, ignored_until, ignored_until_events, ignored_until_users
        )
        SELECT
            d.issue_id, d.resolved_in, d.resolved_in_next, d.ignored_until, d.ignored_until_events,
            d.ignored_until_users
        FROM decided AS d
        WHERE d.outcome = 'changed' AND (d.has_triage OR d.after - 'since' - 'status' <> '{}')
        ON CONFLICT (issue_id) DO UPDATE SET
            resolved_in = excluded.resolved_in, resolved_in_next = excluded.resolved_in_next,
            ignored_until = excluded.ignored_until, ignored_until_events = excluded.ignored_until_events,
            ignored_until_users = excluded.ignored_until_users
    ), noted AS (
        INSERT INTO issue_activity (issue_id, at, kind, actor, batch, before, after)
        SELECT d.issue_id, acted_at, d.status, actor, batch, d.before, d.after
        FROM decided AS d WHERE d.outcome = 'changed'
    )
    SELECT d.issue_id, d.outcome FROM decided AS d
$$;

-- NULL: to nobody.
CREATE FUNCTION {schema}.assign_issues(
    batch uuid, acted_at timestamptz, actor text, assignee text, issue_ids bigint[]
) RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE sql SET search_path = pg_catalog, {schema}, pg_temp AS $$
    WITH decided AS MATERIALIZED (
        SELECT
            a.issue_id, t.assignee AS old_assignee,
            CASE
                WHEN a.refused IS NOT NULL THEN a.refused
                WHEN t.assignee IS NOT DISTINCT FROM assign_issues.assignee THEN 'unchanged'
                ELSE 'changed'
            END AS outcome
        FROM refused_issues(issue_ids) AS a
        LEFT JOIN issue_triage AS t ON t.issue_id = a.issue_id
    ), assigned AS (
        INSERT INTO issue_triage (issue_id, assignee)
        SELECT d.issue_id, assign_issues.assignee FROM decided AS d WHERE d.outcome = 'changed'
        ON CONFLICT (issue_id) DO UPDATE SET assignee = excluded.assignee
    ), noted AS (
        INSERT INTO issue_activity (issue_id, at, kind, actor, batch, before, after)
        SELECT
            d.issue_id, acted_at, 'assigned', actor, batch, jsonb_build_object('assignee', d.old_assignee),
            jsonb_build_object('assignee', assign_issues.assignee)
        FROM decided AS d WHERE d.outcome = 'changed'
    )
    SELECT d.issue_id, d.outcome FROM decided AS d
$$;

CREATE FUNCTION {schema}.comment_on_issues(
    batch uuid, acted_at timestamptz, actor text, comment text, issue_ids bigint[]
) RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE sql SET search_path = pg_catalog, {schema}, pg_temp AS $$
    WITH decided AS MATERIALIZED (
        SELECT a.issue_id, coalesce(a.refused, 'changed') AS outcome FROM refused_issues(issue_ids) AS a
    ), noted AS (
        INSERT INTO issue_activity (issue_id, at, kind, actor, batch, comment)
        SELECT d.issue_id, acted_at, 'comment', actor, batch, comment_on_issues.comment
        FROM decided AS d WHERE d.outcome = 'changed'
    )
    SELECT d.issue_id, d.outcome FROM decided AS d
$$;

-- Hides issues, with those that were merged into them.
CREATE FUNCTION {schema}.delete_issues(batch uuid, acted_at timestamptz, actor text, issue_ids bigint[])
RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    deleted CONSTANT bigint[] := ARRAY(
        SELECT a.issue_id FROM refused_issues(delete_issues.issue_ids) AS a WHERE a.refused IS NULL
    );
    merged CONSTANT bigint[] := ARRAY(SELECT t.issue_id FROM issue_triage AS t WHERE t.merged_into = ANY (deleted));
BEGIN
    RETURN QUERY SELECT a.issue_id, coalesce(a.refused, 'changed') FROM refused_issues(delete_issues.issue_ids) AS a;
    UPDATE issues AS i SET is_hidden = true WHERE i.issue_id = ANY (deleted);
    INSERT INTO issue_triage (issue_id, deleted_at) SELECT d, acted_at FROM unnest(deleted || merged) AS d
    ON CONFLICT (issue_id) DO UPDATE SET deleted_at = excluded.deleted_at;
    PERFORM detach_hashes(deleted || merged);
    INSERT INTO issue_activity (issue_id, at, kind, actor, batch, before, after)
    SELECT d, acted_at, 'deleted', actor, batch, '{}', jsonb_build_object('deleted_at', acted_at)
    FROM unnest(deleted) AS d;
END
$$;

-- Makes room in the rules of ignored issues for what is counted for them from now on; by minus one takes it away.
CREATE FUNCTION {schema}.move_limits(issue_ids bigint[], targets bigint[], sign integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, {schema}, pg_temp AS $$
    UPDATE issue_triage AS t SET
        ignored_until_events = t.ignored_until_events + sign * s.events,
        ignored_until_users = t.ignored_until_users + sign * s.users
    FROM (
        SELECT r.target, sum(c.events)::bigint AS events, sum(c.users)::bigint AS users
        FROM unnest(issue_ids, targets) AS r (issue_id, target) JOIN issue_counters AS c ON c.issue_id = r.issue_id
        GROUP BY r.target
    ) AS s
    WHERE t.issue_id = s.target AND (t.ignored_until_events IS NOT NULL OR t.ignored_until_users IS NOT NULL)
$$;

-- Merges issues into target. Issues that were merged into one of them go
-- along, so that no alias leads to another.
CREATE FUNCTION {schema}.merge_issues(
    batch uuid, acted_at timestamptz, actor text, target bigint, issue_ids bigint[]
) RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_shown CONSTANT boolean := EXISTS (SELECT FROM issues AS i WHERE i.issue_id = target AND NOT i.is_hidden);
    sources bigint[];
    moved bigint[];
BEGIN
    RETURN QUERY SELECT
        a.issue_id,
        CASE
            WHEN a.refused = 'gone' THEN 'gone'
            WHEN NOT is_shown THEN 'target_gone'
            WHEN a.issue_id = target THEN 'cycle'
            WHEN t.merged_into = target THEN 'unchanged'
            ELSE coalesce(a.refused, 'changed')
        END
    FROM refused_issues(merge_issues.issue_ids) AS a LEFT JOIN issue_triage AS t ON t.issue_id = a.issue_id;
    IF NOT is_shown THEN
        RETURN;
    END IF;
    sources := ARRAY(
        SELECT a.issue_id FROM refused_issues(merge_issues.issue_ids) AS a
        WHERE a.refused IS NULL AND a.issue_id <> target
    );
    moved := sources || ARRAY(SELECT t.issue_id FROM issue_triage AS t WHERE t.merged_into = ANY (sources));

    INSERT INTO issue_activity (issue_id, at, kind, actor, batch, before, after)
    SELECT
        m, acted_at, 'merged', actor, batch, jsonb_build_object('merged_into', t.merged_into),
        jsonb_build_object('merged_into', target)
    FROM unnest(moved) AS m LEFT JOIN issue_triage AS t ON t.issue_id = m;
    UPDATE issues AS i SET is_hidden = true WHERE i.issue_id = ANY (sources);
    INSERT INTO issue_triage (issue_id, merged_into) SELECT m, target FROM unnest(moved) AS m
    ON CONFLICT (issue_id) DO UPDATE SET merged_into = excluded.merged_into;
    PERFORM move_limits(moved, array_fill(target, ARRAY[cardinality(moved)]), 1);
    UPDATE issue_actions AS a SET issue_ids = a.issue_ids || moved WHERE a.batch = merge_issues.batch;
END
$$;

-- Does one thing to at most 10,000 issues, and says for each what came of it: changed, unchanged, gone (there is none,
-- or it was deleted), merged (into another: act on that), without_release (it has no current one), target_gone, cycle.
--
-- action and details: resolve {}, {"in": "current"}, {"in": "next"} or {"release": "…"}; ignore {}, {"until": time},
-- {"events": n} or {"users": n}, more than there are; reopen {}; assign {"assignee": name or null}; comment
-- {"text": "…"}; delete {}; merge {"into": id}. The same batch again changes nothing.
CREATE FUNCTION {schema}.act_on_issues(batch uuid, actor text, action text, details jsonb, issue_ids bigint[])
RETURNS TABLE (issue_id bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    acted_at CONSTANT timestamptz := clock_timestamp();
    asked CONSTANT bigint[] := ARRAY(SELECT DISTINCT r FROM unnest(act_on_issues.issue_ids) AS r WHERE r IS NOT NULL);
    asked_into CONSTANT bigint := (details ->> 'into')::bigint;
    target bigint;
    done issue_actions;
BEGIN
    IF batch IS NULL OR details IS NULL OR actor IS NULL OR length(actor) NOT BETWEEN 1 AND 256
        OR cardinality(asked) > 10000
        OR action NOT IN ('resolve', 'ignore', 'reopen', 'assign', 'comment', 'delete', 'merge')
        OR length(details ->> 'assignee') NOT BETWEEN 1 AND 256
        OR length(details ->> 'release') NOT BETWEEN 1 AND 250
        OR (action = 'comment' AND coalesce(length(details ->> 'text') NOT BETWEEN 1 AND 4096, true))
        OR (action = 'merge' AND asked_into IS NULL)
        OR (details ->> 'events')::bigint NOT BETWEEN 1 AND 1000000000
        OR (details ->> 'users')::bigint NOT BETWEEN 1 AND 1000000000
    THEN
        RAISE EXCEPTION 'act_on_issues takes no such %', coalesce(action, 'action')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'act_on_issues runs in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;

    IF action IN ('delete', 'merge') THEN
        LOCK TABLE issue_actions IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    INSERT INTO issue_actions (batch, at, actor, action, details, issue_ids)
    VALUES (
        act_on_issues.batch, acted_at, act_on_issues.actor, act_on_issues.action, act_on_issues.details, asked
    )
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT a.* INTO done FROM issue_actions AS a WHERE a.batch = act_on_issues.batch;
        -- Sent again, a time that is counted from now has moved.
        IF (done.actor, done.action, done.details - 'until')
            <> (act_on_issues.actor, act_on_issues.action, act_on_issues.details - 'until')
        THEN
            RAISE EXCEPTION 'batch % was another action', act_on_issues.batch USING ERRCODE = 'unique_violation';
        END IF;
        RETURN QUERY SELECT r, CASE WHEN EXISTS (
            SELECT FROM issue_activity AS a WHERE a.issue_id = r AND a.batch = act_on_issues.batch
        ) THEN 'changed' ELSE 'unchanged' END
        FROM unnest(asked) AS r;
        RETURN;
    END IF;

    IF action = 'merge' THEN
        -- Nobody else merges now.
        target := coalesce(
            (SELECT t.merged_into FROM issue_triage AS t WHERE t.issue_id = asked_into), asked_into
        );
        PERFORM lock_issues(asked || target);
        RETURN QUERY SELECT r.issue_id, r.outcome FROM merge_issues(batch, acted_at, actor, target, asked) AS r;
        RETURN;
    END IF;
    PERFORM lock_issues(asked);
    CASE action
        WHEN 'assign' THEN
            RETURN QUERY SELECT r.issue_id, r.outcome
            FROM assign_issues(batch, acted_at, actor, details ->> 'assignee', asked) AS r;
        WHEN 'comment' THEN
            RETURN QUERY SELECT r.issue_id, r.outcome
            FROM comment_on_issues(batch, acted_at, actor, details ->> 'text', asked) AS r;
        WHEN 'delete' THEN
            RETURN QUERY SELECT r.issue_id, r.outcome FROM delete_issues(batch, acted_at, actor, asked) AS r;
        ELSE
            RETURN QUERY SELECT r.issue_id, r.outcome
            FROM set_status(batch, acted_at, actor, action, details, asked) AS r;
    END CASE;
END
$$;

-- Takes back what a batch did within 24 hours, where it is still as the batch made it; one row for each issue that it
-- changed: undone, undone_before, or changed_since with who changed it (NULL: an event) and how. A batch that is not
-- known or too old is one row without an issue: unknown, too_late.
CREATE FUNCTION {schema}.undo_action(batch uuid, actor text)
RETURNS TABLE (issue_id bigint, outcome text, changed_by text, changed_kind text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    acted_at CONSTANT timestamptz := clock_timestamp();
    undoable_for CONSTANT interval := '24 hours';
    done issue_actions;
    restored bigint[];
    targets bigint[];
BEGIN
    IF actor IS NULL OR length(actor) NOT BETWEEN 1 AND 256 THEN
        RAISE EXCEPTION 'undo_action takes no such actor' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'undo_action runs in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;

    LOCK TABLE issue_actions IN SHARE ROW EXCLUSIVE MODE;
    SELECT a.* INTO done FROM issue_actions AS a WHERE a.batch = undo_action.batch;
    IF done.batch IS NULL OR done.at <= acted_at - undoable_for THEN
        RETURN QUERY SELECT NULL::bigint, CASE WHEN done.batch IS NULL THEN 'unknown' ELSE 'too_late' END, NULL, NULL;
        RETURN;
    END IF;
    IF done.action IN ('delete', 'merge') THEN
        -- Nobody makes an issue of a hash that comes back.
        PERFORM FROM issue_numbers FOR UPDATE;
    END IF;
    PERFORM lock_issues(done.issue_ids || ARRAY(
        SELECT (a.after ->> 'merged_into')::bigint FROM issue_activity AS a
        WHERE a.issue_id = ANY (done.issue_ids) AND a.batch = done.batch AND a.kind = 'merged'
    ));

    restored := ARRAY(
        SELECT a.issue_id
        FROM issue_activity AS a
        JOIN issues AS i ON i.issue_id = a.issue_id
        LEFT JOIN issue_triage AS t ON t.issue_id = a.issue_id
        WHERE a.issue_id = ANY (done.issue_ids) AND a.batch = done.batch AND a.undone_by IS NULL
            AND CASE a.kind
                WHEN 'comment' THEN true
                WHEN 'deleted' THEN t.deleted_at = (a.after ->> 'deleted_at')::timestamptz
                -- What went with a target that was deleted since comes back with that alone.
                WHEN 'merged' THEN t.merged_into = (a.after ->> 'merged_into')::bigint AND t.deleted_at IS NULL
                -- The same name again is another decision.
                WHEN 'assigned' THEN NOT i.is_hidden AND t.assignee IS NOT DISTINCT FROM a.after ->> 'assignee'
                    AND NOT EXISTS (
                        SELECT FROM issue_activity AS c
                        WHERE c.issue_id = a.issue_id AND c.activity_id > a.activity_id AND c.kind = 'assigned'
                            AND c.undone_by IS NULL
                    )
                ELSE NOT i.is_hidden AND i.status = a.after ->> 'status'
                    AND i.status_changed_at = (a.after ->> 'since')::timestamptz
            END
    );
    RETURN QUERY SELECT
        a.issue_id,
        CASE
            WHEN r.issue_id IS NOT NULL THEN 'undone'
            WHEN a.undone_by IS NOT NULL THEN 'undone_before'
            ELSE 'changed_since'
        END,
        l.actor, l.kind
    FROM issue_activity AS a
    LEFT JOIN unnest(restored) AS r (issue_id) ON r.issue_id = a.issue_id
    LEFT JOIN LATERAL (
        SELECT c.actor, c.kind FROM issue_activity AS c
        WHERE c.activity_id > a.activity_id AND c.undone_by IS NULL AND (
            c.issue_id = a.issue_id AND c.kind <> 'comment'
            AND (a.kind <> 'assigned' OR c.kind IN ('assigned', 'deleted', 'merged'))
            AND (a.kind = 'assigned' OR c.kind <> 'assigned')
            OR a.kind = 'merged' AND c.issue_id = (a.after ->> 'merged_into')::bigint AND c.kind = 'deleted'
        )
        ORDER BY c.activity_id DESC
        LIMIT 1
    ) AS l ON a.undone_by IS NULL AND r.issue_id IS NULL
    WHERE a.issue_id = ANY (done.issue_ids) AND a.batch = done.batch;

    CASE done.action
        WHEN 'comment' THEN
            NULL;
        WHEN 'assign' THEN
            UPDATE issue_triage AS t SET assignee = a.before ->> 'assignee'
            FROM issue_activity AS a
            WHERE t.issue_id = ANY (restored) AND a.issue_id = t.issue_id AND a.batch = done.batch;
        WHEN 'delete' THEN
            UPDATE issue_triage AS t SET deleted_at = NULL
            WHERE t.issue_id = ANY (restored) OR t.merged_into = ANY (restored);
        WHEN 'merge' THEN
            targets := ARRAY(
                SELECT t.merged_into FROM unnest(restored) WITH ORDINALITY AS r (issue_id, n)
                JOIN issue_triage AS t ON t.issue_id = r.issue_id ORDER BY r.n
            );
            PERFORM move_limits(restored, targets, -1);
            UPDATE issue_triage AS t SET merged_into = (a.before ->> 'merged_into')::bigint
            FROM issue_activity AS a
            WHERE t.issue_id = ANY (restored) AND a.issue_id = t.issue_id AND a.batch = done.batch;
        ELSE
            UPDATE issues AS i SET
                status = a.before ->> 'status', status_changed_at = (a.before ->> 'since')::timestamptz
            FROM issue_activity AS a
            WHERE i.issue_id = ANY (restored) AND a.issue_id = i.issue_id AND a.batch = done.batch;
            UPDATE issue_triage AS t SET
                resolved_in = a.before ->> 'resolved_in',
                resolved_in_next = coalesce((a.before ->> 'resolved_in_next')::boolean, false),
                ignored_until = (a.before ->> 'ignored_until')::timestamptz,
                ignored_until_events = (a.before ->> 'ignored_until_events')::bigint,
                ignored_until_users = (a.before ->> 'ignored_until_users')::bigint
            FROM issue_activity AS a
            WHERE t.issue_id = ANY (restored) AND a.issue_id = t.issue_id AND a.batch = done.batch;
    END CASE;
    IF done.action IN ('delete', 'merge') THEN
        UPDATE issues AS i SET is_hidden = t.merged_into IS NOT NULL OR t.deleted_at IS NOT NULL
        FROM issue_triage AS t
        WHERE i.issue_id = ANY (restored) AND t.issue_id = i.issue_id;
        -- A hash of which another issue was made meanwhile stays with that one.
        WITH attached AS (
            DELETE FROM deleted_hashes AS h
            WHERE h.issue_id = ANY (restored || ARRAY(
                SELECT t.issue_id FROM issue_triage AS t WHERE t.merged_into = ANY (restored)
            ))
            RETURNING h.issue_id, h.version, h.hash
        )
        INSERT INTO issue_hashes (version, hash, issue_id) SELECT a.version, a.hash, a.issue_id FROM attached AS a
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE issue_activity AS a SET undone_by = undo_action.actor, undone_at = acted_at
    WHERE a.issue_id = ANY (restored) AND a.batch = done.batch AND a.undone_by IS NULL;
END
$$;
