-- What ingest follows of a project beside its keys. An ingest of the version before goes on with changed_keys.

-- As `protocol::settings` reads it: a field that is not there has its default.
ALTER TABLE errortracking.settings ADD COLUMN ingest jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(ingest) = 'object');

-- Events that are accepted with the key in a window; none: any number.
ALTER TABLE errortracking.client_keys
    ADD COLUMN rate_limit_events integer CHECK (rate_limit_events > 0),
    ADD COLUMN rate_limit_seconds integer CHECK (rate_limit_seconds BETWEEN 1 AND 86400),
    ADD CONSTRAINT client_keys_rate_limit CHECK ((rate_limit_events IS NULL) = (rate_limit_seconds IS NULL));

CREATE OR REPLACE TRIGGER settings_changed
AFTER INSERT OR DELETE OR UPDATE OF project_id, public_key, enabled, revoked_at, rate_limit_events, rate_limit_seconds
ON errortracking.client_keys
FOR EACH ROW EXECUTE FUNCTION errortracking.settings_changed();

-- Whoever changes the column, the version says so.
CREATE FUNCTION errortracking.ingest_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := greatest(OLD.version + 1, extract(epoch FROM clock_timestamp()) * 1000000);
    RETURN NEW;
END
$$;

CREATE TRIGGER ingest_changed
BEFORE UPDATE OF ingest ON errortracking.settings
FOR EACH ROW WHEN (NEW.ingest <> OLD.ingest) EXECUTE FUNCTION errortracking.ingest_changed();

-- No row: the caller knows the newest version. The three arrays are of the same keys in the same order.
CREATE FUNCTION errortracking.changed_settings(project bigint, known_version bigint)
RETURNS TABLE (version bigint, ingest jsonb, public_keys text[], limit_events integer[], limit_seconds integer[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM errortracking.authorize(project);
    RETURN QUERY
    SELECT s.version, s.ingest, k.public_keys, k.events, k.seconds
    FROM errortracking.settings AS s
    CROSS JOIN LATERAL (
        SELECT
            coalesce(array_agg(c.public_key ORDER BY c.key_id), '{}') AS public_keys,
            coalesce(array_agg(c.rate_limit_events ORDER BY c.key_id), '{}') AS events,
            coalesce(array_agg(c.rate_limit_seconds ORDER BY c.key_id), '{}') AS seconds
        FROM errortracking.client_keys AS c
        WHERE c.project_id = project AND c.enabled AND c.revoked_at IS NULL
    ) AS k
    WHERE s.project_id = project AND s.version <> known_version;
END
$$;

-- For every login that follows the keys already: its pods may get the new program before the operator looks at it.
DO $$
DECLARE
    login regrole;
BEGIN
    FOR login IN
        SELECT a.grantee::regrole
        FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a
        WHERE f.oid = 'errortracking.changed_keys(bigint, bigint)'::regprocedure
            AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, f.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION errortracking.changed_settings TO %s', login);
    END LOOP;
END
$$;
