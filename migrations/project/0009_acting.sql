-- What people decide about issues, and which events change that again.

ALTER TABLE {schema}.issues
    -- Deleted or merged into another, as issue_triage says: nothing lists or counts it by itself.
    ADD COLUMN is_hidden boolean NOT NULL DEFAULT false;

-- What was decided about an issue beside its status. Issues that nobody acted on have no row.
CREATE TABLE {schema}.issue_triage (
    issue_id bigint PRIMARY KEY,
    assignee text,
    -- Of a resolved issue, at most one of the two; neither: any event reopens it.
    -- Events of later releases reopen it. The release need not have been seen yet.
    resolved_in text,
    -- Events of releases first seen after it was resolved reopen it.
    resolved_in_next boolean NOT NULL DEFAULT false,
    -- Of an ignored issue, at most one of the three; none: for ever.
    ignored_until timestamptz,
    -- Numbers of the issue, with those merged into it, that reopen it.
    ignored_until_events bigint,
    ignored_until_users bigint,
    -- The issue that its events count for: one that is not merged itself. Its own rows stay as they are, and its hashes
    -- lead to it, so that what was merged can be told apart again.
    merged_into bigint CHECK (merged_into <> issue_id),
    -- Retention removes it a day later. What is merged into a deleted issue is deleted with it.
    deleted_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX issue_triage_merged ON {schema}.issue_triage (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX issue_triage_deleted ON {schema}.issue_triage (deleted_at) WHERE deleted_at IS NOT NULL;

-- Hashes of deleted issues. The next event of one makes a new issue.
CREATE TABLE {schema}.deleted_hashes (
    issue_id bigint NOT NULL,
    version smallint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (issue_id, version, hash)
);

-- What somebody did to issues at once, for as long as it can be undone.
CREATE TABLE {schema}.issue_actions (
    batch uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    details jsonb NOT NULL,
    -- Those that it was asked for, and then those that it changed besides.
    issue_ids bigint[] NOT NULL
);

ALTER TABLE {schema}.issue_activity
    -- What it was done with; NULL: by an event.
    ADD COLUMN batch uuid,
    -- What was decided before and after, as far as it changed.
    ADD COLUMN before jsonb,
    ADD COLUMN after jsonb,
    -- Text of a comment.
    ADD COLUMN comment text,
    ADD COLUMN undone_by text,
    ADD COLUMN undone_at timestamptz;
CREATE INDEX issue_activity_batch ON {schema}.issue_activity (batch) WHERE batch IS NOT NULL;

-- A release as what it sorts by: package, major, minor, patch, revision, pre-release, build. NULL: it has no version of
-- at least two numbers. As https://semver.org orders them: numbers before words, and a pre-release before its release.
CREATE FUNCTION {schema}.version_of(release text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY[
        coalesce(m[1], ''), lpad(m[2], 12, '0'), lpad(m[3], 12, '0'), lpad(coalesce(m[4], ''), 12, '0'),
        lpad(coalesce(m[5], ''), 12, '0'),
        CASE WHEN m[6] IS NULL THEN '~' ELSE (
            SELECT string_agg(
                CASE WHEN p ~ '^[0-9]{1,20}$' THEN '1' || lpad(p, 20, '0') ELSE '2' || p END, '!' ORDER BY n
            )
            FROM string_to_table(m[6], '.') WITH ORDINALITY AS r (p, n)
        ) END,
        CASE WHEN m[7] ~ '^[0-9]{1,20}$' THEN lpad(m[7], 20, '0') END
    ] COLLATE "C"
    FROM regexp_match(
        release,
        '^(?:(.+)@)?v?([0-9]{1,12})\.([0-9]{1,12})(?:\.([0-9]{1,12}))?(?:\.([0-9]{1,12}))?'
            '(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$'
    ) AS m
    WHERE m IS NOT NULL
$$;

-- Whether a release comes after another: by version where both have one and are of one package, and by the number of
-- the build where the versions are the same; else by when they were first seen. NULL: it was not seen yet.
CREATE FUNCTION {schema}.is_later_release(
    release text, first_seen timestamptz, than text, than_first_seen timestamptz
) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, {schema}, pg_temp AS $$
    SELECT CASE
        WHEN release = than THEN false
        WHEN a.v[1] = b.v[1] AND a.v[2:6] <> b.v[2:6] THEN a.v[2:6] COLLATE "C" > b.v[2:6] COLLATE "C"
        WHEN a.v[1] = b.v[1] AND a.v[7] <> b.v[7] THEN a.v[7] COLLATE "C" > b.v[7] COLLATE "C"
        ELSE coalesce(first_seen > than_first_seen, false)
    END
    FROM (SELECT version_of(release)) AS a (v), (SELECT version_of(than)) AS b (v)
$$;

-- A status with its rule, as activity keeps it.
CREATE FUNCTION {schema}.status_state(
    status text, since timestamptz, resolved_in text, resolved_in_next boolean, ignored_until timestamptz,
    ignored_until_events bigint, ignored_until_users bigint
) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'status', status, 'since', since, 'resolved_in', resolved_in,
        'resolved_in_next', nullif(resolved_in_next, false), 'ignored_until', ignored_until,
        'ignored_until_events', ignored_until_events, 'ignored_until_users', ignored_until_users
    ))
$$;

-- Takes the hashes of deleted issues away from what comes.
CREATE FUNCTION {schema}.detach_hashes(issue_ids bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, {schema}, pg_temp AS $$
    WITH detached AS (
        DELETE FROM issue_hashes AS h WHERE h.issue_id = ANY (issue_ids) RETURNING h.issue_id, h.version, h.hash
    )
    INSERT INTO deleted_hashes (issue_id, version, hash) SELECT d.issue_id, d.version, d.hash FROM detached AS d
    ON CONFLICT DO NOTHING
$$;

-- Reopens what the events of a batch reopen, of those issues that are resolved or ignored, or hold for one that is.
-- Called by ingest_batch with the counters locked, and before it writes to issues: all rows of theirs that are written
-- from here on are locked in the order of their ids, as those who act on issues do.
CREATE FUNCTION {schema}.reopen_issues(
    issue_ids bigint[], received_ats timestamptz[], release_ids integer[], keep boolean[]
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    reopened_at CONSTANT timestamptz := clock_timestamp();
    -- From before the locks: a target that a merge brings while they are waited for is not locked, and is left alone.
    merged bigint[];
    targets bigint[];
    deleted bigint[];
BEGIN
    SELECT array_agg(t.issue_id), array_agg(t.merged_into) INTO merged, targets
    FROM issue_triage AS t WHERE t.issue_id = ANY (reopen_issues.issue_ids) AND t.merged_into IS NOT NULL;
    PERFORM FROM issues AS i WHERE i.issue_id = ANY (reopen_issues.issue_ids || targets)
    ORDER BY i.issue_id FOR NO KEY UPDATE;

    -- A batch that knew the hash before still comes; what a newer grouping gave it since goes too.
    deleted := ARRAY(
        SELECT t.issue_id FROM issue_triage AS t
        WHERE t.issue_id = ANY (reopen_issues.issue_ids) AND t.deleted_at IS NOT NULL
    );
    IF deleted <> '{}' THEN
        PERFORM detach_hashes(deleted);
    END IF;

    WITH heard AS MATERIALIZED (
        SELECT coalesce(m.target, e.issue_id) AS issue_id, e.release_id, max(e.received_at) AS received_at
        FROM unnest(issue_ids, received_ats, release_ids, keep) AS e (issue_id, received_at, release_id, keep)
        LEFT JOIN unnest(merged, targets) AS m (issue_id, target) ON m.issue_id = e.issue_id
        WHERE e.keep
        GROUP BY 1, 2
    ), met AS MATERIALIZED (
        SELECT DISTINCT ON (i.issue_id)
            i.issue_id, i.status, r.release,
            status_state(
                i.status, i.status_changed_at, t.resolved_in, t.resolved_in_next, t.ignored_until,
                t.ignored_until_events, t.ignored_until_users
            ) AS before
        FROM heard AS h
        JOIN issues AS i ON i.issue_id = h.issue_id
        LEFT JOIN issue_triage AS t ON t.issue_id = i.issue_id
        LEFT JOIN releases AS r ON r.release_id = h.release_id
        LEFT JOIN releases AS s ON s.release = t.resolved_in
        WHERE NOT i.is_hidden AND CASE i.status
            -- What was received before it was resolved does not count.
            WHEN 'resolved' THEN
                (i.status_changed_at IS NULL OR i.status_changed_at < h.received_at)
                AND CASE
                    WHEN t.resolved_in IS NOT NULL THEN
                        is_later_release(r.release, r.first_seen, t.resolved_in, s.first_seen)
                    WHEN t.resolved_in_next THEN r.first_seen > i.status_changed_at
                    ELSE true
                END
            WHEN 'ignored' THEN
                h.received_at >= t.ignored_until
                OR (t.ignored_until_events IS NOT NULL OR t.ignored_until_users IS NOT NULL) AND (
                    SELECT sum(c.events) >= t.ignored_until_events OR sum(c.users) >= t.ignored_until_users
                    FROM issue_counters AS c
                    WHERE c.issue_id = i.issue_id OR c.issue_id = ANY (ARRAY(
                        SELECT m.issue_id FROM issue_triage AS m WHERE m.merged_into = i.issue_id
                    ))
                )
        END
        ORDER BY i.issue_id, h.received_at DESC
    ), reopened AS (
        UPDATE issues AS i SET status = 'unresolved', status_changed_at = reopened_at
        FROM met AS m WHERE i.issue_id = m.issue_id
    ), cleared AS (
        UPDATE issue_triage AS t SET
            resolved_in = NULL, resolved_in_next = false, ignored_until = NULL, ignored_until_events = NULL,
            ignored_until_users = NULL
        FROM met AS m WHERE t.issue_id = m.issue_id
    )
    INSERT INTO issue_activity (issue_id, kind, before, after)
    SELECT
        m.issue_id, CASE m.status WHEN 'resolved' THEN 'regression' ELSE 'unignored' END, m.before,
        jsonb_strip_nulls(jsonb_build_object('status', 'unresolved', 'since', reopened_at, 'release', m.release))
    FROM met AS m
    ORDER BY m.issue_id;
END
$$;

-- Issues as people see them: without those that are hidden, and with the numbers of those that were merged into them.
CREATE VIEW {schema}.shown_issues AS
SELECT
    i.issue_id, i.status, i.status_changed_at, i.kind, i.level, i.title, i.culprit, i.exception_type, i.exception_value,
    i.platform, i.first_release_id, i.created_at,
    t.assignee, t.resolved_in, coalesce(t.resolved_in_next, false) AS resolved_in_next, t.ignored_until,
    t.ignored_until_events, t.ignored_until_users,
    coalesce(m.issues, 0) AS merged_issues,
    c.events + coalesce(m.events, 0) AS events,
    -- A user of several of them is one.
    CASE WHEN m.merged_into IS NULL THEN c.users ELSE (
        SELECT count(*) FROM (
            SELECT u.user_hash FROM {schema}.issue_users AS u WHERE u.issue_id = i.issue_id
            UNION
            SELECT u.user_hash
            FROM {schema}.issue_triage AS f JOIN {schema}.issue_users AS u ON u.issue_id = f.issue_id
            WHERE f.merged_into = i.issue_id
        ) AS distinct_users
    ) END AS users,
    least(c.first_seen, m.first_seen) AS first_seen,
    greatest(c.last_seen, m.last_seen) AS last_seen,
    greatest(c.latest_received_at, m.latest_received_at) AS latest_received_at,
    CASE WHEN m.latest_received_at > c.latest_received_at THEN m.latest_event_id ELSE c.latest_event_id END
        AS latest_event_id
FROM {schema}.issues AS i
JOIN {schema}.issue_counters AS c ON c.issue_id = i.issue_id
LEFT JOIN {schema}.issue_triage AS t ON t.issue_id = i.issue_id
LEFT JOIN (
    SELECT
        f.merged_into, count(*) AS issues, sum(n.events)::bigint AS events, min(n.first_seen) AS first_seen,
        max(n.last_seen) AS last_seen, max(n.latest_received_at) AS latest_received_at,
        (array_agg(n.latest_event_id ORDER BY n.latest_received_at DESC))[1] AS latest_event_id
    FROM {schema}.issue_triage AS f JOIN {schema}.issue_counters AS n ON n.issue_id = f.issue_id
    WHERE f.merged_into IS NOT NULL
    GROUP BY f.merged_into
) AS m ON m.merged_into = i.issue_id
WHERE NOT i.is_hidden;
