-- What ingest logins call. They read no table: each function checks that its caller is the project's login.

CREATE TABLE errortracking.ingest_instances (
    project_id bigint NOT NULL REFERENCES errortracking.projects,
    instance text NOT NULL,
    settings_version bigint NOT NULL,
    spool_bytes bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, instance)
);

CREATE FUNCTION errortracking.authorize(project bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM errortracking.projects AS p JOIN pg_roles AS r ON r.rolname = p.ingest_role
    WHERE p.project_id = project AND p.state = 'active' AND pg_has_role(session_user, r.oid, 'MEMBER');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login % does not serve project %', session_user, project
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

-- No row: the caller knows the newest version.
CREATE FUNCTION errortracking.changed_keys(project bigint, known_version bigint)
RETURNS TABLE (version bigint, public_keys text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM errortracking.authorize(project);
    RETURN QUERY
    SELECT s.version, ARRAY(
        SELECT k.public_key FROM errortracking.client_keys AS k
        WHERE k.project_id = project AND k.enabled AND k.revoked_at IS NULL
        ORDER BY k.key_id
    )
    FROM errortracking.settings AS s
    WHERE s.project_id = project AND s.version <> known_version;
END
$$;

CREATE FUNCTION errortracking.find_key(project bigint, key text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM errortracking.authorize(project);
    RETURN EXISTS (
        SELECT FROM errortracking.client_keys AS k
        WHERE k.public_key = key AND k.project_id = project AND k.enabled AND k.revoked_at IS NULL
    );
END
$$;

CREATE FUNCTION errortracking.heartbeat(
    project bigint, instance text, settings_version bigint,
    used_keys text[], used_at timestamptz[], reasons text[], quantities bigint[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM errortracking.authorize(project);

    INSERT INTO errortracking.ingest_instances AS i (project_id, instance, settings_version, seen_at)
    VALUES (project, heartbeat.instance, heartbeat.settings_version, clock_timestamp())
    ON CONFLICT (project_id, instance)
    DO UPDATE SET settings_version = excluded.settings_version, seen_at = excluded.seen_at;

    IF cardinality(used_keys) > 0 THEN
        -- In order of key_id, as another instance reports the same keys.
        PERFORM FROM errortracking.client_keys AS k
        WHERE k.project_id = project AND k.public_key = ANY (used_keys)
        ORDER BY k.key_id FOR NO KEY UPDATE;

        UPDATE errortracking.client_keys AS k SET last_used_at = u.used_at
        FROM unnest(used_keys, heartbeat.used_at) AS u (public_key, used_at)
        WHERE k.project_id = project AND k.public_key = u.public_key
            AND (k.last_used_at IS NULL OR k.last_used_at < u.used_at);
    END IF;

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
