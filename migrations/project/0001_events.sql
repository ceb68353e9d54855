-- Events and what bounds them. {schema} stands for the schema of the project.

CREATE TABLE {schema}.events (
    -- Fixed when the request was accepted; what partitions, retention and "newest" go by.
    received_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    issue_id bigint NOT NULL,
    -- When it happened, by the client's clock.
    ts timestamptz NOT NULL,
    level smallint NOT NULL,
    release_id integer,
    env_id integer,
    user_hash bigint,
    -- Dictionary that payload was compressed with; NULL: none.
    dict_id integer,
    -- zstd of the event's JSON. Kept in the row: an own TOAST row costs a second write and a second read.
    payload bytea NOT NULL
) PARTITION BY RANGE (received_at);

ALTER TABLE {schema}.events ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX events_issue ON {schema}.events (issue_id, received_at);

-- The partitions of events, numbered without a gap, so that a batch finds the neighbours of its own
-- without a look into the catalog. Written in the transaction that attaches or forgets a partition.
CREATE TABLE {schema}.partitions (
    n integer PRIMARY KEY,
    from_at timestamptz NOT NULL UNIQUE,
    to_at timestamptz NOT NULL CHECK (to_at > from_at),
    relname name NOT NULL UNIQUE
);

CREATE TABLE {schema}.releases (
    release_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release text NOT NULL UNIQUE,
    first_seen timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {schema}.environments (
    env_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL UNIQUE,
    first_seen timestamptz NOT NULL DEFAULT now()
);

-- The last batch applied of each writer of each ingest instance.
CREATE TABLE {schema}.ingest_marks (
    stream uuid PRIMARY KEY,
    seq bigint NOT NULL,
    applied_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Holds no row. Batches into partitions of even number take one lock mode on it, of odd number another:
-- the modes agree with themselves and exclude each other, so that the same event id cannot come into two
-- neighbours at once, which no unique index would see.
CREATE TABLE {schema}.ingest_gate ();

CREATE TABLE {schema}.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    -- Kept once, also when the answer was lost and it was sent again.
    event_id uuid NOT NULL UNIQUE,
    received_at timestamptz NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL
);

CREATE TABLE {schema}.outcomes (
    hour timestamptz NOT NULL,
    reason text NOT NULL,
    quantity bigint NOT NULL,
    PRIMARY KEY (hour, reason)
);

CREATE FUNCTION {schema}.quarantine_event(event_id uuid, received_at timestamptz, reason text, payload bytea)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- It is answered with 200 like a stored one, and so is on disk like one.
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    INSERT INTO quarantine (event_id, received_at, reason, payload)
    VALUES (
        quarantine_event.event_id, quarantine_event.received_at, left(quarantine_event.reason, 1000),
        quarantine_event.payload
    )
    ON CONFLICT (event_id) DO NOTHING;
END
$$;
