-- What a pass over a key sees, in one statement that is its own transaction: in a transaction of several, each would begin with
-- another one, for the search path.

-- The first row has no key, and all that is not of one key. The others have one key each, and nothing else.
CREATE TYPE errortracking.observed_keys AS (
    observed_at timestamptz,
    -- The project of the object, when it can take keys.
    project bigint,
    -- Of each ingest instance of the project: its name, the version of the settings that it follows, and the seconds since its
    -- last report and since its end. NULL without a key that goes on beside another one: nobody asks for them then.
    instances text[],
    settings_versions bigint[],
    seen_ages double precision[],
    ended_ages double precision[],
    ended_clean boolean[],
    key errortracking.client_keys
);

-- `project_object` and `object` are the uids of project and key. `schema_comment` is what the comment of a schema of this
-- installation begins with: before the schema is there, an ingest could not read the project's settings.
CREATE FUNCTION errortracking.observe_keys(
    project_object text, object text, least_version integer, schema_comment text, most_keys bigint, most_instances bigint
) RETURNS SETOF errortracking.observed_keys
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    head errortracking.observed_keys;
BEGIN
    head.observed_at := clock_timestamp();
    SELECT p.project_id INTO head.project FROM errortracking.projects AS p
    WHERE p.object_uid = project_object AND p.state = 'active' AND p.schema_version >= least_version
        AND obj_description(to_regnamespace('project_' || p.project_id), 'pg_namespace') = schema_comment || p.project_id;
    IF EXISTS (
        SELECT FROM errortracking.client_keys AS k
        WHERE k.client_key_uid = object AND k.revoked_at IS NULL AND k.state IN ('minted', 'overlap')
    ) THEN
        SELECT array_agg(i.instance), array_agg(i.settings_version), array_agg(i.seen_age), array_agg(i.ended_age),
            array_agg(i.ended_clean)
        INTO head.instances, head.settings_versions, head.seen_ages, head.ended_ages, head.ended_clean
        FROM (
            SELECT left(n.instance, 253) AS instance, n.settings_version, n.ended_clean,
                extract(epoch FROM clock_timestamp() - n.seen_at)::double precision AS seen_age,
                extract(epoch FROM clock_timestamp() - n.ended_at)::double precision AS ended_age
            FROM errortracking.ingest_instances AS n WHERE n.project_id = head.project
            ORDER BY n.ended_at IS NOT NULL, n.ended_clean, greatest(n.seen_at, n.ended_at) DESC, n.instance
            LIMIT most_instances
        ) AS i;
        head.instances := coalesce(head.instances, '{}');
    END IF;
    RETURN NEXT head;
    RETURN QUERY
    SELECT NULL::timestamptz, NULL::bigint, NULL::text[], NULL::bigint[], NULL::double precision[],
        NULL::double precision[], NULL::boolean[], k
    FROM errortracking.client_keys AS k WHERE k.client_key_uid = object
    ORDER BY k.revoked_at IS NOT NULL, k.key_id DESC LIMIT most_keys;
END
$$;

-- As `succeed_key`, and what the next look shows.
CREATE FUNCTION errortracking.succeed_and_observe(
    project_object text, object text, least_version integer, schema_comment text, most_keys bigint, most_instances bigint,
    ours bigint, active bigint, next_ordinal integer, key text, key_secret text
) RETURNS SETOF errortracking.observed_keys
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.succeed_key(ours, active, next_ordinal, key, key_secret);
    RETURN QUERY SELECT * FROM errortracking.observe_keys(
        project_object, object, least_version, schema_comment, most_keys, most_instances
    );
END
$$;

-- As `publish_key`, and what the next look shows.
CREATE FUNCTION errortracking.publish_and_observe(
    project_object text, object text, least_version integer, schema_comment text, most_keys bigint, most_instances bigint,
    ours bigint, key bigint, named_at timestamptz
) RETURNS SETOF errortracking.observed_keys
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.publish_key(ours, key, named_at);
    RETURN QUERY SELECT * FROM errortracking.observe_keys(
        project_object, object, least_version, schema_comment, most_keys, most_instances
    );
END
$$;

-- Where a key is in its life, and what was sent in the last hour with one that is refused: no address and no name of a host,
-- which are personal data.
CREATE OR REPLACE VIEW errortracking.console_client_keys AS
SELECT
    k.key_id, k.project_id, k.namespace, k.name, k.ordinal, left(k.public_key, 8) AS public_key_prefix,
    k.enabled, k.created_at, k.revoked_at, k.last_used_at,
    k.state, k.retiring_since, r.last_at AS refused_at, r.events AS refused_events,
    left(r.sentry_client, 64) AS refused_client
FROM errortracking.client_keys AS k
LEFT JOIN errortracking.refused_keys AS r
    ON r.key_id = k.key_id AND r.last_at > clock_timestamp() - interval '1 hour';
