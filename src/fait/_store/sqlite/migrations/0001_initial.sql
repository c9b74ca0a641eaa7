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
-- `handled_types` is a sorted JSON array. `revision` increases with each change of the definition. `definition` is a JSON
-- object with the parts of the definition, '' if there are none: it tells what differs when the hash does.
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
    paused          INTEGER NOT NULL DEFAULT 0, -- 1: its ranges are not acquired
    definition      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (subscription, generation)
) STRICT, WITHOUT ROWID;

-- The ranges of a subscription cover the hashes 0 to 65,535 of its order keys: `low` is included, `high` is not.
-- All events of a range up to `frontier` are finished, except for those at the positions in `pending`, a sorted JSON array,
-- and those of keys in fait_failures. `position` is the last one before all that are pending. `worker` is '' if the range
-- is free. `health` says what is wrong, as JSON. The fencing token is greater than any of a range with one of its hashes.
CREATE TABLE fait_ranges (
    subscription  TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    low           INTEGER NOT NULL,
    high          INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    frontier      INTEGER NOT NULL,
    pending       TEXT NOT NULL,
    health        TEXT NOT NULL,
    worker        TEXT NOT NULL,
    fencing_token INTEGER NOT NULL,
    PRIMARY KEY (subscription, generation, low),
    CHECK (0 <= low AND low < high AND high <= 65536),
    CHECK (position <= frontier)
) STRICT, WITHOUT ROWID;

-- `runs` is a JSON object: the definition hash of each subscription that the worker can run. So are `calls`: the duration of
-- the oldest call of a subscription, in seconds; and `backlogs`: the number of messages that a consumer has not handled.
CREATE TABLE fait_workers (
    worker     TEXT PRIMARY KEY,
    heartbeat  INTEGER NOT NULL,
    app        TEXT NOT NULL,
    host       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    version    TEXT NOT NULL,
    runs       TEXT NOT NULL,
    calls      TEXT NOT NULL,
    backlogs   TEXT NOT NULL,
    started_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A key whose events are not handled from `next_position` on. Its range is the one that contains `slot`, the hash of the key.
CREATE TABLE fait_failures (
    subscription    TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    key             TEXT NOT NULL,
    slot            INTEGER NOT NULL,
    state           TEXT NOT NULL, -- 'retrying', 'parked', 'redriving' or 'discarding'
    next_position   INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    stream          TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    event_type      TEXT NOT NULL,
    first_failed_at TEXT NOT NULL,
    last_failed_at  TEXT NOT NULL,
    error_type      TEXT NOT NULL,
    error           TEXT NOT NULL,
    location        TEXT NOT NULL,
    traceback       TEXT NOT NULL,
    requested_by    TEXT NOT NULL,
    reason          TEXT NOT NULL,
    discard_until   INTEGER NOT NULL,
    PRIMARY KEY (subscription, generation, key)
) STRICT;

CREATE INDEX fait_failures_slot ON fait_failures (subscription, generation, slot);

CREATE INDEX fait_failures_requested ON fait_failures (subscription, generation, key)
WHERE state IN ('redriving', 'discarding');

-- What consumers of brokers remember, changed in the transactions of their effects. A mark: messages of the source with
-- this key are handled up to `position`, which is one of the source's log. A floor: all messages of the source in this
-- lane and with keys of this bucket are handled up to `position`; marks up to `folded`, which is not higher, were deleted.
-- `day`, in UTC: ids are kept for a window.
CREATE TABLE fait_inbox_marks (
    consumer   TEXT NOT NULL,
    source     TEXT NOT NULL,
    key        TEXT NOT NULL,
    position   INTEGER NOT NULL,
    handled_at TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    bucket     INTEGER NOT NULL,
    PRIMARY KEY (consumer, source, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_inbox_floors (
    consumer TEXT NOT NULL,
    source   TEXT NOT NULL,
    bucket   INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    folded   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer, source, bucket, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE fait_inbox_ids (
    consumer TEXT NOT NULL,
    source   TEXT NOT NULL,
    id       TEXT NOT NULL,
    day      TEXT NOT NULL,
    PRIMARY KEY (consumer, source, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX fait_inbox_ids_day ON fait_inbox_ids (consumer, day);

-- All messages of a lane up to `lane_offset` are handled or stored.
CREATE TABLE fait_inbox_offsets (
    consumer    TEXT NOT NULL,
    topic       TEXT NOT NULL,
    lane        INTEGER NOT NULL,
    lane_offset TEXT NOT NULL,
    PRIMARY KEY (consumer, topic, lane)
) STRICT, WITHOUT ROWID;

-- Messages of keys in fait_failures. `message_key` and `headers` are JSON.
CREATE TABLE fait_inbox_messages (
    consumer    TEXT NOT NULL,
    number      INTEGER NOT NULL,
    order_key   TEXT NOT NULL,
    topic       TEXT NOT NULL,
    lane        INTEGER NOT NULL,
    lane_offset TEXT NOT NULL,
    message_key TEXT NOT NULL,
    headers     TEXT NOT NULL,
    body        BLOB NOT NULL,
    received_at TEXT NOT NULL,
    PRIMARY KEY (consumer, order_key, number)
) STRICT;

-- What operators have done. `details` is JSON.
CREATE TABLE fait_actions (
    id           INTEGER PRIMARY KEY,
    recorded_at  TEXT NOT NULL,
    action       TEXT NOT NULL,
    subscription TEXT NOT NULL,
    details      TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    reason       TEXT NOT NULL
) STRICT;

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
