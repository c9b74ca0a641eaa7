-- The log, and the ledger beside it. Times are UTC text of fixed width, so that they sort as they read.

CREATE TABLE fait_log (
    log_id     TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    expired_position    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The writer gives positions and versions: the next after the last. The last event of each stream is never deleted, and
-- so not that of the log either: none is given twice. `expires` is 1 for messages that may be dropped one day; `expired`
-- of the log is the highest position of those that were.
CREATE TABLE fait_events (
    position    INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT NOT NULL,
    schema_version      INTEGER NOT NULL,
    id          TEXT NOT NULL,
    data        TEXT NOT NULL,
    metadata    TEXT NOT NULL,
    tags        TEXT,
    recorded_at TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    expires     INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT fait_events_version UNIQUE (stream, version),
    -- fault: event-id-not-unique
    CONSTRAINT fait_events_id UNIQUE (id)
) STRICT;

CREATE INDEX fait_events_messages ON fait_events (type) WHERE expires = 1;

CREATE TABLE fait_tags (
    tag      TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_checkpoints (
    subscription TEXT PRIMARY KEY,
    app          TEXT NOT NULL,
    position     INTEGER NOT NULL,
    log_id       TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    definition_hash        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_leases (
    name  TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fencing_token INTEGER NOT NULL,
    heartbeat  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Facts do not change. These stop accidents; whoever owns the database can get around them.
CREATE TRIGGER fait_events_append_only_update BEFORE UPDATE ON fait_events
BEGIN
    SELECT RAISE(ABORT, 'events are facts: fait_events takes no UPDATE');
END;

CREATE TRIGGER fait_events_append_only_delete BEFORE DELETE ON fait_events WHEN OLD.expires = 0
BEGIN
    SELECT RAISE(ABORT, 'events are facts: fait_events takes no DELETE');
END;
