-- Keys of projects whose errors another server keeps, a Sentry or a GitLab: what was asked for there, and what it answered.
-- The row of a key is there before the server is asked to make it, so that an answer that is lost is looked for, and what is
-- to be taken back there is remembered for as long as the server does not answer.

CREATE TABLE errortracking.server_keys (
    key_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Server and project there, as "sentry https://sentry.io acme/shop".
    place text NOT NULL,
    project_uid text NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    namespace_uid text NOT NULL,
    client_key_uid text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal > 0),
    public_key text NOT NULL,

    -- Where the key is in its life, as in errortracking.client_keys.
    state text NOT NULL CHECK (state IN ('minted', 'published', 'overlap', 'retired', 'revoked')),
    enabled boolean NOT NULL DEFAULT true,
    rate_limit_events integer CHECK (rate_limit_events > 0),
    rate_limit_seconds integer CHECK (rate_limit_seconds BETWEEN 1 AND 86400),
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    retiring_since timestamptz,
    ended_at timestamptz,
    restored boolean NOT NULL DEFAULT false,
    restarted text[] NOT NULL DEFAULT '{}',

    -- When the server was asked first to make it. NULL: it cannot be there.
    asked_at timestamptz,
    -- What the server calls it, and its DSN. NULL: it has not answered yet.
    server_id text,
    dsn text,
    -- The secret part, which only the deprecated form of a DSN has.
    secret text,
    -- Whether the server accepts events with it, and how many, when it answered last.
    accepted boolean NOT NULL DEFAULT false,
    server_limit_events integer,
    server_limit_seconds integer,
    -- When the server last took a limit and kept another one.
    limit_refused_at timestamptz,
    -- When it last refused to delete the key.
    delete_refused_at timestamptz,
    deleted_at timestamptz,
    -- When something was sent with it last, as far as the server tells, and when it was asked.
    last_used_at timestamptz,
    use_asked_at timestamptz,

    CHECK ((rate_limit_events IS NULL) = (rate_limit_seconds IS NULL)),
    CHECK ((ended_at IS NULL) = (state IN ('minted', 'published', 'overlap')))
);

CREATE UNIQUE INDEX server_keys_ordinal ON errortracking.server_keys (client_key_uid, ordinal) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX server_keys_public_key ON errortracking.server_keys (place, public_key);
CREATE INDEX server_keys_object ON errortracking.server_keys (client_key_uid);
CREATE INDEX server_keys_name ON errortracking.server_keys (namespace_uid, name);
CREATE INDEX server_keys_project ON errortracking.server_keys (project_uid) WHERE ended_at IS NULL;

-- A key that a server without names for keys is asked for now, with the ids that it had before. One at a time: an answer that
-- is lost leaves the row, and then nobody can say whose the new id is.
CREATE TABLE errortracking.server_key_intents (
    place text PRIMARY KEY,
    client_key_uid text NOT NULL,
    known text[] NOT NULL,
    -- The public key in the answer, while it has still to be found in the list of all.
    answered text,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Ids that appeared while an answer was lost: nobody claims them.
CREATE TABLE errortracking.server_key_orphans (
    place text NOT NULL,
    server_id text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (place, server_id)
);
