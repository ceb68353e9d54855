-- Where a key is in its life: minted, published (the Secret names it), overlap (the Secret names the next one), and two ways
-- to be refused: retired, which can be taken back, and revoked, which is for good. `revoked_at` goes on saying since when a
-- key is refused, in both; an operator of the version before writes it and no state.

ALTER TABLE errortracking.client_keys
    ADD COLUMN state text NOT NULL DEFAULT 'minted'
        CHECK (state IN ('minted', 'published', 'overlap', 'retired', 'revoked')),
    -- When the newest write was that made the Secret name the key, by the API server's clock; NULL while it is being written.
    ADD COLUMN published_at timestamptz,
    -- Since when the Secret names the next key, or the key is accepted again.
    ADD COLUMN retiring_since timestamptz,
    -- Whether it was accepted again after it had ended.
    ADD COLUMN restored boolean NOT NULL DEFAULT false,
    -- The version of the project's settings that holds the key first.
    ADD COLUMN settings_version bigint NOT NULL DEFAULT 0,
    -- Workloads that were restarted because the Secret names the key now, as Deployment/shop.
    ADD COLUMN restarted text[] NOT NULL DEFAULT '{}';

-- Until now an object had one key, and its Secret named it.
UPDATE errortracking.client_keys SET state = 'published', published_at = created_at WHERE revoked_at IS NULL;
UPDATE errortracking.client_keys SET state = 'revoked' WHERE revoked_at IS NOT NULL;

-- Makes the key that comes after `active`, with the same object, limits and enabling; the one that was made before when this
-- is repeated. No row: `active` has ended, or the project is gone.
CREATE FUNCTION errortracking.succeed_key(ours bigint, active bigint, next_ordinal integer, key text, key_secret text)
RETURNS SETOF errortracking.client_keys
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM errortracking.fence(ours);
    INSERT INTO errortracking.client_keys AS k (
        project_id, namespace, name, namespace_uid, client_key_uid, ordinal, public_key, secret, enabled,
        rate_limit_events, rate_limit_seconds
    )
    SELECT
        a.project_id, a.namespace, a.name, a.namespace_uid, a.client_key_uid, next_ordinal, key, key_secret, a.enabled,
        a.rate_limit_events, a.rate_limit_seconds
    FROM errortracking.client_keys AS a JOIN errortracking.projects AS p USING (project_id)
    WHERE a.key_id = active AND a.revoked_at IS NULL AND p.state = 'active'
    ON CONFLICT (client_key_uid, ordinal) WHERE revoked_at IS NULL DO NOTHING
    RETURNING k.key_id INTO made;
    -- The trigger has raised the version by now.
    UPDATE errortracking.client_keys AS k SET settings_version = s.version
    FROM errortracking.settings AS s
    WHERE k.key_id = made AND s.project_id = k.project_id;
    RETURN QUERY
    SELECT k.* FROM errortracking.client_keys AS k JOIN errortracking.client_keys AS a USING (client_key_uid)
    WHERE a.key_id = active AND k.ordinal = next_ordinal AND k.revoked_at IS NULL;
END
$$;

-- The Secret names the key since `named_at`, and the one before is in its overlap; NULL: the Secret is about to be written.
CREATE FUNCTION errortracking.publish_key(ours bigint, key bigint, named_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.fence(ours);
    IF named_at IS NULL THEN
        UPDATE errortracking.client_keys SET published_at = NULL WHERE key_id = key;
        RETURN;
    END IF;
    UPDATE errortracking.client_keys AS k
    SET state = 'overlap', retiring_since = clock_timestamp()
    FROM errortracking.client_keys AS n
    WHERE n.key_id = key AND n.revoked_at IS NULL AND k.client_key_uid = n.client_key_uid AND k.key_id <> key
        AND k.state IN ('minted', 'published') AND k.revoked_at IS NULL;
    UPDATE errortracking.client_keys
    SET state = 'published', published_at = named_at, retiring_since = NULL
    WHERE key_id = key AND revoked_at IS NULL;
END
$$;

-- Every key of the object is in its overlap from now on: the project does not let the object in any more.
CREATE FUNCTION errortracking.withdraw_keys(ours bigint, object text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.fence(ours);
    UPDATE errortracking.client_keys SET state = 'overlap', retiring_since = clock_timestamp()
    WHERE client_key_uid = object AND state IN ('minted', 'published') AND revoked_at IS NULL;
END
$$;

-- Events with the key are refused from now on; whether they were not before. One that has retired can be revoked still.
CREATE FUNCTION errortracking.end_key(ours bigint, object text, key bigint, for_good boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    ended boolean;
BEGIN
    PERFORM errortracking.fence(ours);
    SELECT revoked_at IS NULL INTO ended FROM errortracking.client_keys
    WHERE key_id = key AND client_key_uid = object FOR NO KEY UPDATE;
    UPDATE errortracking.client_keys
    SET state = CASE WHEN for_good THEN 'revoked' ELSE 'retired' END, revoked_at = coalesce(revoked_at, clock_timestamp())
    WHERE key_id = key AND client_key_uid = object
        AND (revoked_at IS NULL OR (for_good AND state = 'retired'));
    RETURN coalesce(ended, false);
END
$$;

-- A key that has retired within `days` is accepted again, in an overlap; whether it was refused before.
CREATE FUNCTION errortracking.restore_key(ours bigint, object text, key bigint, days integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.fence(ours);
    UPDATE errortracking.client_keys AS k
    SET state = 'overlap', revoked_at = NULL, retiring_since = clock_timestamp(), restored = true
    FROM errortracking.projects AS p
    WHERE k.key_id = key AND k.client_key_uid = object AND k.state = 'retired'
        AND k.revoked_at > clock_timestamp() - make_interval(days => days)
        AND p.project_id = k.project_id AND p.state = 'active';
    RETURN FOUND;
END
$$;

-- The workload was restarted because the Secret names the key now.
CREATE FUNCTION errortracking.record_restart(ours bigint, key bigint, workload text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.fence(ours);
    UPDATE errortracking.client_keys SET restarted = restarted || workload
    WHERE key_id = key AND NOT workload = ANY (restarted) AND cardinality(restarted) < 1000;
END
$$;
