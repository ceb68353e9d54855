-- What the users of a project are counted by. Who has stored events and knows the number of a project could test guesses of
-- who its users are; without the key nobody can.

ALTER TABLE errortracking.projects
    -- Random, from the statement that makes the row, and the same from then on: with another one every user counts again.
    -- NULL: of a project that an operator of the version before made, whose users are counted by its number.
    ADD COLUMN user_key bytea CHECK (octet_length(user_key) = 32);

-- Beside `changed_settings`, for those who count users by it. An instance of the version before does not ask: where an upgrade
-- is taken back, users of the projects made since count a second time.
CREATE FUNCTION errortracking.user_key(project bigint) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM errortracking.authorize(project);
    RETURN (SELECT p.user_key FROM errortracking.projects AS p WHERE p.project_id = project);
END
$$;

-- For every login that follows the settings already: its pods may get the new program before the operator looks at it.
DO $$
DECLARE
    login regrole;
BEGIN
    FOR login IN
        SELECT a.grantee::regrole
        FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a
        WHERE f.oid = 'errortracking.changed_settings(bigint, bigint)'::regprocedure
            AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, f.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION errortracking.user_key TO %s', login);
    END LOOP;
END
$$;
