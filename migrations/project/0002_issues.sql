-- Issues: wide text that changes rarely, narrow counters that change with every batch.

-- The last number given to an issue; its row is locked while a batch makes new ones.
CREATE TABLE {schema}.issue_numbers (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    last bigint NOT NULL CHECK (last < 4294967296)
);
INSERT INTO {schema}.issue_numbers (last) VALUES (0);

CREATE TABLE {schema}.issues (
    -- project_id << 32 | number
    issue_id bigint PRIMARY KEY,
    status text NOT NULL DEFAULT 'unresolved'
        CONSTRAINT issues_status CHECK (status IN ('unresolved', 'resolved', 'ignored')),
    status_changed_at timestamptz,
    -- Of the newest event by its own time.
    kind text NOT NULL,
    level smallint NOT NULL,
    title text NOT NULL,
    culprit text NOT NULL,
    exception_type text,
    exception_value text,
    platform text NOT NULL,
    first_release_id integer,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {schema}.issue_counters (
    issue_id bigint PRIMARY KEY,
    events bigint NOT NULL,
    users bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    -- The event received last: where the page of the issue opens.
    latest_received_at timestamptz NOT NULL,
    latest_event_id uuid NOT NULL
) WITH (fillfactor = 60);

CREATE TABLE {schema}.issue_hashes (
    version smallint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    issue_id bigint NOT NULL,
    PRIMARY KEY (version, hash)
);
CREATE INDEX issue_hashes_issue ON {schema}.issue_hashes (issue_id);

CREATE TABLE {schema}.issue_users (
    issue_id bigint NOT NULL,
    user_hash bigint NOT NULL,
    PRIMARY KEY (issue_id, user_hash)
);

CREATE TABLE {schema}.issue_hours (
    issue_id bigint NOT NULL,
    -- Start of the hour, of the events' own time.
    hour timestamptz NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (issue_id, hour)
) WITH (fillfactor = 70);

CREATE TABLE {schema}.tag_keys (
    key_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE
);

CREATE TABLE {schema}.issue_tags (
    issue_id bigint NOT NULL,
    key_id integer NOT NULL,
    -- First eight bytes of the value's SHA-256; 0: every value after the first 500.
    value_hash bigint NOT NULL,
    value text,
    first_seen timestamptz NOT NULL,
    -- Counted in memory by ingest and flushed now and then.
    events bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (issue_id, key_id, value_hash)
);
CREATE INDEX issue_tags_value ON {schema}.issue_tags (key_id, value_hash, issue_id);

CREATE TABLE {schema}.issue_activity (
    activity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issue_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    -- regression, resolved, ignored, unresolved, …
    kind text NOT NULL,
    -- Who did it; NULL: ingest.
    actor text
);
CREATE INDEX issue_activity_issue ON {schema}.issue_activity (issue_id, activity_id);

-- Issues whose rows elsewhere are being removed, so that an interrupted removal is finished.
CREATE TABLE {schema}.expired_issues (issue_id bigint PRIMARY KEY);
