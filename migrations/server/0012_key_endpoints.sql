-- The external URL that the DSN of a key names: whoever has it goes on there when the project's URL is another one.

ALTER TABLE errortracking.client_keys
    -- NULL: the DSN names an address inside the cluster, or follows the project's URL.
    ADD COLUMN endpoint text;

-- The Secret names the key with this URL. What was recorded stays: the DSN is out there.
CREATE FUNCTION errortracking.record_key_endpoint(ours bigint, key bigint, url text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM errortracking.fence(ours);
    UPDATE errortracking.client_keys SET endpoint = url WHERE key_id = key AND endpoint IS NULL;
END
$$;
