-- What ingest tells of itself: that it lives, which settings it follows, how long ago it used keys, and that it ends.

ALTER TABLE errortracking.ingest_instances
    -- When the instance ended: by its own last report, or when the operator found it gone. NULL: it lives, or is silent.
    ADD COLUMN ended_at timestamptz,
    -- It said so itself, after everything that it had accepted was committed.
    ADD COLUMN ended_clean boolean NOT NULL DEFAULT false;

-- When that was which an instance says was `age` seconds before its report arrived. Only the database's clock counts:
-- that of a node may be a day off. It was after the report before, but for the time that one was under way.
CREATE FUNCTION errortracking.time_of(age double precision, arrived timestamptz, previous timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT date_trunc('second', least(arrived, greatest(
        -- NaN and infinity are more than a month.
        arrived - make_interval(secs => least(greatest(age, 0), 2678400)),
        previous - interval '1 minute'
    )))
$$;

-- A report after the last one is of another process with the same name, as of a container that was started again.
CREATE FUNCTION errortracking.report(
    project bigint, instance text, settings_version bigint, ending boolean,
    used_keys text[], used_ages double precision[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    arrived CONSTANT timestamptz := clock_timestamp();
    previous timestamptz;
BEGIN
    PERFORM errortracking.authorize(project);

    SELECT i.seen_at INTO previous FROM errortracking.ingest_instances AS i
    WHERE i.project_id = project AND i.instance = report.instance;

    INSERT INTO errortracking.ingest_instances AS i (
        project_id, instance, settings_version, seen_at, ended_at, ended_clean
    )
    VALUES (
        project, report.instance, report.settings_version, arrived, CASE WHEN ending THEN arrived END, ending
    )
    ON CONFLICT (project_id, instance) DO UPDATE SET
        settings_version = excluded.settings_version, seen_at = excluded.seen_at,
        ended_at = excluded.ended_at, ended_clean = excluded.ended_clean;

    IF cardinality(used_keys) > 0 THEN
        -- In order of key_id, as another instance reports the same keys.
        PERFORM FROM errortracking.client_keys AS k
        WHERE k.project_id = project AND k.public_key = ANY (used_keys)
        ORDER BY k.key_id FOR NO KEY UPDATE;

        UPDATE errortracking.client_keys AS k SET last_used_at = u.used_at
        FROM (
            SELECT used.public_key, errortracking.time_of(used.age, arrived, previous) AS used_at
            FROM unnest(used_keys, used_ages) AS used (public_key, age)
        ) AS u
        WHERE k.project_id = project AND k.public_key = u.public_key
            AND (k.last_used_at IS NULL OR k.last_used_at < u.used_at);
    END IF;
END
$$;

-- What instances of the version before call. Their times are by the clocks of their nodes, and count as ages.
CREATE OR REPLACE FUNCTION errortracking.heartbeat(
    project bigint, instance text, settings_version bigint,
    used_keys text[], used_at timestamptz[], reasons text[], quantities bigint[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM errortracking.report(project, instance, settings_version, false, used_keys, ARRAY(
        SELECT extract(epoch FROM clock_timestamp() - used.at)::double precision
        FROM unnest(used_at) WITH ORDINALITY AS used (at, position) ORDER BY used.position
    ));

    IF cardinality(reasons) > 0 THEN
        EXECUTE format(
            'INSERT INTO %I.outcomes AS o (hour, reason, quantity)
             SELECT date_trunc(''hour'', clock_timestamp(), ''UTC''), r.reason, sum(r.quantity)
             FROM unnest($1, $2) AS r (reason, quantity) GROUP BY r.reason ORDER BY r.reason
             ON CONFLICT (hour, reason) DO UPDATE SET quantity = o.quantity + excluded.quantity',
            'project_' || project
        ) USING reasons, quantities;
    END IF;
END
$$;

-- For every login that reports already: its pods may get the new program before the operator looks at it.
DO $$
DECLARE
    login regrole;
BEGIN
    FOR login IN
        SELECT a.grantee::regrole
        FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a
        WHERE f.oid = 'errortracking.heartbeat(
                bigint, text, bigint, text[], timestamptz[], text[], bigint[]
            )'::regprocedure
            AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, f.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION errortracking.report TO %s', login);
    END LOOP;
END
$$;
