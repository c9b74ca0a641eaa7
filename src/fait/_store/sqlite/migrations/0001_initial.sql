-- The tables of the log and of subscriptions. Times are UTC text of fixed width, so that text order is time order.

-- The epoch of an event is the last one, by number, that started before the event's position. `after_position` is the
-- position of the last event when the epoch started. Only the order of the numbers is used: copies of a file assign the
-- same numbers.
CREATE TABLE fait_epochs (
    number         INTEGER PRIMARY KEY,
    epoch_id       TEXT NOT NULL UNIQUE,
    after_position INTEGER NOT NULL,
    started_at     TEXT NOT NULL
) STRICT;

-- `epoch_id` is that of the last epoch.
CREATE TABLE fait_log (
    log_id           TEXT NOT NULL,
    epoch_id         TEXT NOT NULL,
    expired_position INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The writer assigns the next position and the next version. Neither is ever assigned twice, because the last event of
-- a stream is never deleted, and therefore not the last event of the log either. `expires` is 1 for messages, which may
-- be deleted after their retention; `fait_log.expired_position` is the highest position of a deleted message.
CREATE TABLE fait_events (
    position       INTEGER PRIMARY KEY,
    stream         TEXT NOT NULL,
    version        INTEGER NOT NULL,
    type           TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    id             TEXT NOT NULL,
    data           TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    tags           TEXT,
    recorded_at    TEXT NOT NULL,
    occurred_at    TEXT NOT NULL,
    expires        INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT fait_events_version UNIQUE (stream, version),
    -- fault: event-id-not-unique
    CONSTRAINT fait_events_id UNIQUE (id)
) STRICT;

-- Events with large data, at which a part of a stream's history ends. A cast costs less than to count characters.
CREATE INDEX fait_events_large ON fait_events (stream, version) WHERE length(CAST(data AS BLOB)) > 4096;

CREATE INDEX fait_events_messages ON fait_events (type) WHERE expires = 1;

CREATE TABLE fait_tags (
    tag      TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

-- A subscription. `retired`: it was removed or renamed; the row stays, so that no revision and no fencing token is reused.
-- `handled_types` is a sorted JSON array. `revision` increases with each change of the definition.
CREATE TABLE fait_subscriptions (
    subscription    TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    app             TEXT NOT NULL,
    kind            TEXT NOT NULL,
    log_id          TEXT NOT NULL,
    epoch_id        TEXT NOT NULL,
    definition_hash TEXT NOT NULL,
    handled_types   TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    state           TEXT NOT NULL, -- 'live' or 'retired'; a subscription works unless it is retired
    PRIMARY KEY (subscription, generation)
) STRICT, WITHOUT ROWID;

-- The ranges of a subscription cover the hashes 0 to 65,535 of its order keys: `low` is included, `high` is not.
-- All events of a range up to `position` are processed. `worker` is '' if the range is free.
CREATE TABLE fait_ranges (
    subscription  TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    low           INTEGER NOT NULL,
    high          INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    worker        TEXT NOT NULL,
    fencing_token INTEGER NOT NULL,
    PRIMARY KEY (subscription, generation, low),
    CHECK (0 <= low AND low < high AND high <= 65536)
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_workers (
    worker    TEXT PRIMARY KEY,
    heartbeat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- These triggers prevent accidental changes. They are no protection against a user who may drop them.
CREATE TRIGGER fait_events_append_only_update BEFORE UPDATE ON fait_events
BEGIN
    SELECT RAISE(ABORT, 'fait_events is append-only: UPDATE is not allowed');
END;

CREATE TRIGGER fait_events_append_only_delete BEFORE DELETE ON fait_events WHEN OLD.expires = 0
BEGIN
    SELECT RAISE(ABORT, 'fait_events is append-only: DELETE is not allowed');
END;

CREATE TRIGGER fait_epochs_append_only_update BEFORE UPDATE ON fait_epochs
BEGIN
    SELECT RAISE(ABORT, 'fait_epochs is append-only: UPDATE is not allowed');
END;

CREATE TRIGGER fait_epochs_append_only_delete BEFORE DELETE ON fait_epochs
BEGIN
    SELECT RAISE(ABORT, 'fait_epochs is append-only: DELETE is not allowed');
END;
