-- What of a project comes in such numbers that its limits are met, for the status of the project. Written when a batch
-- meets one, at most every ten seconds; the rows are made with the limits, so that no batch waits for another one's.
CREATE TABLE errortracking.floods (
    project_id bigint NOT NULL REFERENCES errortracking.projects ON DELETE CASCADE,
    -- As in flood_limits of the project's schema.
    kind text NOT NULL,
    -- How many an hour are let in.
    an_hour bigint NOT NULL DEFAULT 0,
    -- The first time of those that followed each other within an hour.
    since timestamptz NOT NULL DEFAULT '-infinity',
    last_at timestamptz NOT NULL DEFAULT '-infinity',
    -- Events and sessions that met the limit, in the hour of last_at.
    met bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, kind)
) WITH (fillfactor = 50);
