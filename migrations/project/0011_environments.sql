-- Counts the events of issues by environment and release, so that the numbers of a filter are those of its events.

-- Which environment and release were seen together in events of an issue.
CREATE TABLE {schema}.issue_environments (
    issue_id bigint NOT NULL,
    -- 0: none, or one without a number; -1: any after the first 20 of the issue.
    env_id integer NOT NULL,
    -- 0: none, or one without a number; -1: any that came when the issue had 500 rows; -2: all of the environment, so
    -- that its numbers are not sums over every release.
    release_id integer NOT NULL,
    events bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (issue_id, env_id, release_id)
) WITH (fillfactor = 70);
CREATE INDEX issue_environments_environment ON {schema}.issue_environments (env_id, release_id);
CREATE INDEX issue_environments_release ON {schema}.issue_environments (release_id);

CREATE TABLE {schema}.issue_environment_hours (
    issue_id bigint NOT NULL,
    -- Start of the hour, of the events' own time.
    hour timestamptz NOT NULL,
    -- As in issue_environments.
    env_id integer NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (issue_id, hour, env_id)
) WITH (fillfactor = 70);
CREATE INDEX issue_environment_hours_environment ON {schema}.issue_environment_hours (env_id, hour);

-- When events began to be counted so, where some were stored before; retention takes the row when those are gone.
CREATE TABLE {schema}.environments_since (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    since timestamptz NOT NULL
);
INSERT INTO {schema}.environments_since (since) SELECT clock_timestamp() WHERE EXISTS (SELECT FROM {schema}.issues);

-- Counts the events of a batch by environment; called by ingest_batch. Most batches bring nothing new, and then only
-- what is there is counted on. Writers beside each other may each add a batch too many.
CREATE FUNCTION {schema}.count_environments(
    issue_ids bigint[], timestamps timestamptz[], env_ids integer[], release_ids integer[], keep boolean[]
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    most_environments CONSTANT integer := 20;
    most_rows CONSTANT integer := 500;
    -- What has no row yet.
    fresh_ids bigint[];
    fresh_envs integer[];
    fresh_releases integer[];
    -- What of that is one too many for its issue.
    beyond_ids bigint[];
    beyond_envs integer[];
    beyond_releases integer[];
    counted_envs integer[] := env_ids;
    counted_releases integer[] := release_ids;
BEGIN
    SELECT array_agg(r.issue_id), array_agg(r.env_id), array_agg(r.release_id)
    INTO fresh_ids, fresh_envs, fresh_releases
    FROM (
        SELECT DISTINCT e.issue_id, coalesce(e.env_id, 0) AS env_id, coalesce(e.release_id, 0) AS release_id
        FROM unnest(issue_ids, env_ids, release_ids, keep) AS e (issue_id, env_id, release_id, keep)
        WHERE e.keep
    ) AS r
    WHERE NOT EXISTS (
        SELECT FROM issue_environments AS p
        WHERE p.issue_id = r.issue_id AND p.env_id = r.env_id AND p.release_id = r.release_id
    );
    IF fresh_ids IS NOT NULL THEN
        SELECT array_agg(r.issue_id), array_agg(r.env_id), array_agg(r.release_id)
        INTO beyond_ids, beyond_envs, beyond_releases
        FROM unnest(fresh_ids, fresh_envs, fresh_releases) AS r (issue_id, env_id, release_id)
        WHERE r.release_id > 0 AND most_rows <= (
            SELECT count(*) FROM (
                SELECT FROM issue_environments AS p WHERE p.issue_id = r.issue_id LIMIT most_rows
            ) AS there
        );
        IF beyond_ids IS NOT NULL THEN
            SELECT array_agg(CASE WHEN b.issue_id IS NULL THEN r.release_id ELSE -1 END ORDER BY r.n)
            INTO counted_releases
            FROM unnest(issue_ids, env_ids, release_ids) WITH ORDINALITY AS r (issue_id, env_id, release_id, n)
            LEFT JOIN unnest(beyond_ids, beyond_envs, beyond_releases) AS b (issue_id, env_id, release_id)
                ON b.issue_id = r.issue_id AND b.env_id = coalesce(r.env_id, 0) AND b.release_id = r.release_id;
        END IF;

        WITH fresh AS MATERIALIZED (
            SELECT f.issue_id, f.env_id, row_number() OVER (PARTITION BY f.issue_id ORDER BY f.env_id) AS nth
            FROM (
                SELECT DISTINCT r.issue_id, r.env_id FROM unnest(fresh_ids, fresh_envs) AS r (issue_id, env_id)
                WHERE r.env_id > 0
            ) AS f
            WHERE NOT EXISTS (
                SELECT FROM issue_environments AS p WHERE p.issue_id = f.issue_id AND p.env_id = f.env_id
            )
        ), known AS MATERIALIZED (
            SELECT i.issue_id, (
                SELECT count(DISTINCT p.env_id) FROM issue_environments AS p
                WHERE p.issue_id = i.issue_id AND p.env_id > 0
            ) AS environments
            FROM (SELECT DISTINCT f.issue_id FROM fresh AS f) AS i
        )
        SELECT array_agg(f.issue_id), array_agg(f.env_id) INTO beyond_ids, beyond_envs
        FROM fresh AS f JOIN known AS k ON k.issue_id = f.issue_id
        WHERE k.environments + f.nth > most_environments;
        IF beyond_ids IS NOT NULL THEN
            SELECT array_agg(CASE WHEN b.issue_id IS NULL THEN r.env_id ELSE -1 END ORDER BY r.n) INTO counted_envs
            FROM unnest(issue_ids, env_ids) WITH ORDINALITY AS r (issue_id, env_id, n)
            LEFT JOIN unnest(beyond_ids, beyond_envs) AS b (issue_id, env_id)
                ON b.issue_id = r.issue_id AND b.env_id = r.env_id;
        END IF;
    END IF;

    INSERT INTO issue_environments AS p (issue_id, env_id, release_id, events, first_seen, last_seen)
    SELECT r.issue_id, r.env_id, coalesce(r.release_id, -2), count(*), min(r.ts), max(r.ts)
    FROM (
        SELECT e.issue_id, coalesce(e.env_id, 0) AS env_id, coalesce(e.release_id, 0) AS release_id, e.ts
        FROM unnest(issue_ids, counted_envs, counted_releases, timestamps, keep)
            AS e (issue_id, env_id, release_id, ts, keep)
        WHERE e.keep
    ) AS r
    GROUP BY GROUPING SETS ((r.issue_id, r.env_id, r.release_id), (r.issue_id, r.env_id))
    ORDER BY 1, 2, 3
    ON CONFLICT (issue_id, env_id, release_id) DO UPDATE SET
        events = p.events + excluded.events,
        first_seen = least(p.first_seen, excluded.first_seen),
        last_seen = greatest(p.last_seen, excluded.last_seen);

    INSERT INTO issue_environment_hours AS h (issue_id, hour, env_id, events)
    SELECT e.issue_id, date_trunc('hour', e.ts, 'UTC'), coalesce(e.env_id, 0), count(*)
    FROM unnest(issue_ids, counted_envs, timestamps, keep) AS e (issue_id, env_id, ts, keep)
    WHERE e.keep
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (issue_id, hour, env_id) DO UPDATE SET events = h.events + excluded.events;
END
$$;
