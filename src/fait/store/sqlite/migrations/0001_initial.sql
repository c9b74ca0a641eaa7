-- The log, and the ledger beside it. Times are UTC text of fixed width, so that they sort as they read.

CREATE TABLE fait_log (
    log_id     TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- The writer gives positions and versions: the next after the last. Nothing is ever deleted, so none is given twice.
CREATE TABLE fait_events (
    position    INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT NOT NULL,
    schema      INTEGER NOT NULL,
    id          TEXT NOT NULL,
    data        TEXT NOT NULL,
    metadata    TEXT NOT NULL,
    tags        TEXT,
    recorded_at TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    CONSTRAINT fait_events_version UNIQUE (stream, version),
    CONSTRAINT fait_events_id UNIQUE (id)
) STRICT;

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
    shape        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_leases (
    name  TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    beat  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Facts do not change. These stop accidents; whoever owns the database can get around them.
CREATE TRIGGER fait_events_are_facts_update BEFORE UPDATE ON fait_events
BEGIN
    SELECT RAISE(ABORT, 'events are facts: fait_events takes no UPDATE');
END;

CREATE TRIGGER fait_events_are_facts_delete BEFORE DELETE ON fait_events
BEGIN
    SELECT RAISE(ABORT, 'events are facts: fait_events takes no DELETE');
END;
