-- What ingest tells of itself: that it lives, which settings it follows, how long ago it used keys, what keys send that
-- are not accepted any more, and that it ends.

ALTER TABLE errortracking.ingest_instances
    -- When the instance ended: by its own last report, or when the operator found it gone. NULL: it lives, or is silent.
    ADD COLUMN ended_at timestamptz,
    -- It said so itself, after everything that it had accepted was committed.
    ADD COLUMN ended_clean boolean NOT NULL DEFAULT false;

-- What was sent in the last hour with keys of a project that are not accepted any more. Addresses and names of hosts are
-- personal data: a row goes an hour after its last use.
CREATE TABLE errortracking.refused_keys (
    key_id bigint PRIMARY KEY REFERENCES errortracking.client_keys ON DELETE CASCADE,
    last_at timestamptz NOT NULL,
    -- Requests since the row was made.
    events bigint NOT NULL,
    -- Whatever the sender says of itself.
    sentry_client text,
    server_name text
);

CREATE TABLE errortracking.refused_addresses (
    key_id bigint NOT NULL REFERENCES errortracking.refused_keys ON DELETE CASCADE,
    address inet NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, address)
);

-- Whether the key is accepted; NULL: the project has no such key. `find_key` alone decides what is accepted.
CREATE FUNCTION errortracking.look_up_key(project bigint, key text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF errortracking.find_key(project, key) THEN
        RETURN true;
    END IF;
    PERFORM FROM errortracking.client_keys AS k WHERE k.public_key = key AND k.project_id = project;
    RETURN CASE WHEN FOUND THEN false END;
END
$$;

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

-- Keeps what was sent with keys of the project that are refused, which the caller says of any: a list of objects.
CREATE FUNCTION errortracking.record_refused(
    project bigint, refused jsonb, arrived timestamptz, previous timestamptz
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    told bigint[];
BEGIN
    SELECT array_agg(t.key_id ORDER BY t.key_id) INTO told
    FROM (
        SELECT k.key_id
        FROM jsonb_to_recordset(refused) AS f (key text)
        JOIN errortracking.client_keys AS k ON k.public_key = f.key AND k.project_id = project
        WHERE NOT errortracking.find_key(project, k.public_key)
        LIMIT 64
    ) AS t;

    -- In order of key_id, as another instance reports the same keys: whoever has a row has its addresses too.
    INSERT INTO errortracking.refused_keys AS r (key_id, last_at, events, sentry_client, server_name)
    SELECT k.key_id, errortracking.time_of(f.age, arrived, previous), least(greatest(f.events, 0), 1000000000),
        left(f.sentry_client, 64), left(f.server_name, 64)
    FROM jsonb_to_recordset(refused)
        AS f (key text, age double precision, events bigint, sentry_client text, server_name text)
    JOIN errortracking.client_keys AS k ON k.public_key = f.key AND k.key_id = ANY (told)
    ORDER BY k.key_id
    ON CONFLICT (key_id) DO UPDATE SET
        last_at = greatest(r.last_at, excluded.last_at),
        events = r.events + excluded.events,
        sentry_client = coalesce(excluded.sentry_client, r.sentry_client),
        server_name = coalesce(excluded.server_name, r.server_name);

    INSERT INTO errortracking.refused_addresses AS a (key_id, address, last_at)
    SELECT k.key_id, f.address, errortracking.time_of(f.age, arrived, previous)
    FROM (
        SELECT f.key, s.address, s.age
        FROM jsonb_to_recordset(refused) AS f (key text, addresses jsonb)
        CROSS JOIN LATERAL jsonb_to_recordset(f.addresses) AS s (address inet, age double precision)
    ) AS f
    JOIN errortracking.client_keys AS k ON k.public_key = f.key AND k.key_id = ANY (told)
    ON CONFLICT (key_id, address) DO UPDATE SET last_at = greatest(a.last_at, excluded.last_at);

    DELETE FROM errortracking.refused_addresses AS a
    USING (
        SELECT o.key_id, o.address, o.last_at,
            row_number() OVER (PARTITION BY o.key_id ORDER BY o.last_at DESC, o.address) AS position
        FROM errortracking.refused_addresses AS o WHERE o.key_id = ANY (told)
    ) AS o
    WHERE a.key_id = o.key_id AND a.address = o.address
        AND (o.position > 16 OR o.last_at < arrived - interval '1 hour');
END
$$;

-- A report after the last one is of another process with the same name, as of a container that was started again.
CREATE FUNCTION errortracking.report(
    project bigint, instance text, settings_version bigint, ending boolean,
    used_keys text[], used_ages double precision[], refused jsonb
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

    IF jsonb_array_length(refused) > 0 THEN
        PERFORM errortracking.record_refused(project, refused, arrived, previous);
    END IF;

    -- Of whatever project: one that reports no more leaves nothing behind. A row that is in use is not too old.
    DELETE FROM errortracking.refused_keys WHERE key_id = ANY (ARRAY(
        SELECT r.key_id FROM errortracking.refused_keys AS r
        WHERE r.last_at < arrived - interval '1 hour' LIMIT 100 FOR UPDATE SKIP LOCKED
    ));
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
    ), '[]');

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
        EXECUTE format('GRANT EXECUTE ON FUNCTION errortracking.look_up_key, errortracking.report TO %s', login);
    END LOOP;
END
$$;
