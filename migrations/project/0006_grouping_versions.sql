-- Issues keep their ids when a new version of the grouping comes: the first new hash to find an issue by its old one
-- claims it; later ones open issues of their own.

-- Gives issues that are known by an older hash the newer one of the same event. In the order of locks this is at the
-- gate, and alone: no batch can hold what comes after it.
CREATE FUNCTION {schema}.claim_issues(
    stream uuid, seq bigint, versions smallint[], hashes bytea[], older_versions smallint[], older_hashes bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    last_applied bigint;
    candidate record;
BEGIN
    -- Most batches have nothing to claim, and pass without a lock.
    PERFORM FROM unnest(versions, hashes, older_versions, older_hashes) AS r (version, hash, older_version, older_hash)
    JOIN issue_hashes AS o ON o.version = r.older_version AND o.hash = r.older_hash
    WHERE NOT EXISTS (SELECT FROM issue_hashes AS h WHERE h.version = r.version AND h.hash = r.hash)
        AND NOT EXISTS (SELECT FROM issue_hashes AS h WHERE h.issue_id = o.issue_id AND h.version = r.version);
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- The mark is locked and not moved: that is for ingest_batch to do. What was applied before claims nothing.
    INSERT INTO ingest_marks AS m (stream, seq, applied_at)
    VALUES (claim_issues.stream, claim_issues.seq - 1, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE SET seq = m.seq
    RETURNING m.seq INTO last_applied;
    IF last_applied >= claim_issues.seq THEN
        RETURN;
    END IF;
    LOCK TABLE ingest_gate IN SHARE ROW EXCLUSIVE MODE;

    -- One after the other, as each may take what the next one would have found.
    FOR candidate IN
        SELECT r.version, r.hash, o.issue_id
        FROM unnest(versions, hashes, older_versions, older_hashes)
            WITH ORDINALITY AS r (version, hash, older_version, older_hash, n)
        JOIN issue_hashes AS o ON o.version = r.older_version AND o.hash = r.older_hash
        ORDER BY r.n
    LOOP
        INSERT INTO issue_hashes (version, hash, issue_id)
        SELECT candidate.version, candidate.hash, candidate.issue_id
        WHERE NOT EXISTS (
            SELECT FROM issue_hashes AS h WHERE h.issue_id = candidate.issue_id AND h.version = candidate.version
        )
        ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;

-- As ingest, for a program that groups by a newer version. The older hashes are those that the same events had before,
-- where the newer one is not known to be there yet; NULL: not one of them.
CREATE FUNCTION {schema}.ingest_regrouped(
    stream uuid, seq bigint,
    event_ids uuid[], received_ats timestamptz[], timestamps timestamptz[], levels smallint[],
    kinds text[], titles text[], culprits text[], exception_types text[], exception_values text[],
    platforms text[], release_names text[], environment_names text[], user_hashes bigint[],
    grouping_versions smallint[], grouping_hashes bytea[], payloads bytea[],
    tag_rows integer[], tag_names text[], tag_values text[], tag_hashes bigint[],
    sessions jsonb, feedback jsonb, outcomes jsonb, limits jsonb,
    older_versions smallint[], older_hashes bytea[]
) RETURNS TABLE (applied boolean, stored bigint, duplicates bigint, usage jsonb)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, {schema}, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    IF older_hashes IS NOT NULL THEN
        PERFORM claim_issues(stream, seq, grouping_versions, grouping_hashes, older_versions, older_hashes);
    END IF;
    RETURN QUERY SELECT i.applied, i.stored, i.duplicates, i.usage
    FROM ingest(
        stream, seq, event_ids, received_ats, timestamps, levels, kinds, titles, culprits, exception_types,
        exception_values, platforms, release_names, environment_names, user_hashes, grouping_versions, grouping_hashes,
        payloads, tag_rows, tag_names, tag_values, tag_hashes, sessions, feedback, outcomes, limits
    ) AS i;
END
$$;

-- Who may store events now may at once do so by two versions.
DO $$
DECLARE
    login regrole;
BEGIN
    FOR login IN
        SELECT a.grantee::regrole
        FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a
        WHERE f.oid = '{schema}.ingest'::regproc AND a.privilege_type = 'EXECUTE'
            AND a.grantee NOT IN (0, f.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.ingest_regrouped TO %s', login);
    END LOOP;
END
$$;
