-- Subscriptions, and snapshots. The tables of read models are in the same schema.

-- A subscription. `retired`: it was removed or renamed; the row stays, so that no revision and no fencing token is reused.
CREATE TABLE {schema}.fait_subscriptions (
    subscription    text COLLATE "C" NOT NULL,
    generation      integer          NOT NULL,
    app             text             NOT NULL,
    kind            text             NOT NULL,
    log_id          text             NOT NULL,
    epoch_id        text             NOT NULL,
    definition_hash text             NOT NULL,
    handled_types   text             NOT NULL, -- a JSON array, sorted; empty: all types
    revision        bigint           NOT NULL, -- increases with each change of the definition
    state           text             NOT NULL, -- 'live' or 'retired'; a subscription works unless it is retired
    paused          boolean          NOT NULL DEFAULT false, -- true: its ranges are not acquired
    definition      text             NOT NULL DEFAULT '', -- a JSON object: what definition_hash covers; '' if unknown
    PRIMARY KEY (subscription, generation)
);

-- The ranges of a subscription cover the hashes 0 to 65,535 of its order keys: `low` is included, `high` is not. All
-- events of a range up to `frontier` are finished, except for those at `pending` positions, and those of keys in
-- fait_failures. `position` is the last one before all that are pending. The fencing token is greater than any of a range
-- with one of its hashes. Pages keep space, so that moving a position needs no index update.
CREATE TABLE {schema}.fait_ranges (
    subscription  text COLLATE "C" NOT NULL,
    generation    integer          NOT NULL,
    low           integer          NOT NULL,
    high          integer          NOT NULL,
    position      bigint           NOT NULL,
    frontier      bigint           NOT NULL,
    pending       bigint[]         NOT NULL, -- sorted
    health        text             NOT NULL, -- what is wrong, as JSON; '' if nothing is
    worker        text             NOT NULL, -- '' if the range is free
    fencing_token bigint           NOT NULL,
    PRIMARY KEY (subscription, generation, low),
    CHECK (0 <= low AND low < high AND high <= 65536),
    CHECK (position <= frontier)
) WITH (fillfactor = 50);

CREATE TABLE {schema}.fait_workers (
    worker     text COLLATE "C" PRIMARY KEY,
    heartbeat  bigint           NOT NULL,
    app        text             NOT NULL,
    host       text             NOT NULL,
    pid        bigint           NOT NULL,
    version    text             NOT NULL,
    runs       text             NOT NULL, -- a JSON object: the definition hash of each subscription that it can run
    calls      text             NOT NULL, -- a JSON object: the duration of the oldest call of a subscription, in seconds
    backlogs   text             NOT NULL, -- a JSON object: number of messages that a consumer has not handled
    started_at timestamptz      NOT NULL
) WITH (fillfactor = 50);

-- A key whose events are not handled from `next_position` on. Its range is the one that contains `slot`, the hash of the key.
CREATE TABLE {schema}.fait_failures (
    subscription    text COLLATE "C" NOT NULL,
    generation      integer          NOT NULL,
    key             text COLLATE "C" NOT NULL,
    slot            integer          NOT NULL,
    state           text             NOT NULL, -- 'retrying', 'parked', 'redriving' or 'discarding'
    next_position   bigint           NOT NULL,
    attempts        integer          NOT NULL,
    stream          text             NOT NULL,
    event_id        text             NOT NULL,
    event_type      text             NOT NULL,
    first_failed_at timestamptz      NOT NULL,
    last_failed_at  timestamptz      NOT NULL,
    error_type      text             NOT NULL,
    error           text             NOT NULL,
    location        text             NOT NULL,
    traceback       text             NOT NULL,
    requested_by    text             NOT NULL,
    reason          text             NOT NULL,
    discard_until   bigint           NOT NULL,
    PRIMARY KEY (subscription, generation, key)
);

CREATE INDEX fait_failures_slot ON {schema}.fait_failures (subscription, generation, slot);

CREATE INDEX fait_failures_requested ON {schema}.fait_failures (subscription, generation, key)
WHERE state IN ('redriving', 'discarding');

-- fait_range_failures_1: returns the failures of a range as a JSON array, in order of their keys.
--
-- It is volatile, so that its query has a snapshot of its own. A statement that acquires a range may have waited for a
-- record of the previous owner. Its own snapshot is older, and would not contain the failures of that record.
CREATE FUNCTION {schema}.fait_range_failures_1(
    of_subscription text, of_generation integer, from_slot integer, to_slot integer
) RETURNS text
-- fault: failures-read-before-last-record
LANGUAGE plpgsql VOLATILE SET timezone = 'UTC'
AS $$
BEGIN
    RETURN (
        SELECT coalesce(json_agg(f ORDER BY f.key), '[]')
        FROM {schema}.fait_failures AS f
        WHERE f.subscription = of_subscription AND f.generation = of_generation
            AND f.slot >= from_slot AND f.slot < to_slot
    );
END $$;

-- What consumers of brokers remember, changed in the transactions of their effects. A mark: messages of the source with
-- this key are handled up to `position`, which is one of the source's log. Pages keep space for moves of marks. A floor:
-- all messages of the source in this lane and with keys of this bucket are handled up to `position`. Marks up to `folded`,
-- which is not higher, were deleted.
CREATE TABLE {schema}.fait_inbox_marks (
    consumer   text COLLATE "C" NOT NULL,
    source     text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    position   bigint           NOT NULL,
    handled_at timestamptz      NOT NULL,
    lane       integer          NOT NULL,
    bucket     smallint         NOT NULL,
    PRIMARY KEY (consumer, source, key)
) WITH (fillfactor = 80);

CREATE TABLE {schema}.fait_inbox_floors (
    consumer text COLLATE "C" NOT NULL,
    source   text COLLATE "C" NOT NULL,
    bucket   smallint         NOT NULL,
    lane     integer          NOT NULL,
    position bigint           NOT NULL,
    folded   bigint           NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer, source, bucket, lane)
) WITH (fillfactor = 50);

CREATE TABLE {schema}.fait_inbox_ids (
    consumer text COLLATE "C" NOT NULL,
    source   text COLLATE "C" NOT NULL,
    id       text COLLATE "C" NOT NULL,
    day      date             NOT NULL, -- in UTC; ids are kept for a window
    PRIMARY KEY (consumer, source, id)
);

CREATE INDEX fait_inbox_ids_day ON {schema}.fait_inbox_ids (consumer, day);

-- All messages of a lane up to `lane_offset` are handled or stored.
CREATE TABLE {schema}.fait_inbox_offsets (
    consumer    text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    lane        integer          NOT NULL,
    lane_offset text             NOT NULL,
    PRIMARY KEY (consumer, topic, lane)
) WITH (fillfactor = 50);

-- Messages of keys in fait_failures.
CREATE TABLE {schema}.fait_inbox_messages (
    consumer    text COLLATE "C" NOT NULL,
    number      bigint           NOT NULL,
    order_key   text COLLATE "C" NOT NULL,
    topic       text             NOT NULL,
    lane        integer          NOT NULL,
    lane_offset text             NOT NULL,
    message_key text             NOT NULL, -- JSON
    headers     text             NOT NULL, -- JSON
    body        bytea            NOT NULL,
    received_at timestamptz      NOT NULL,
    PRIMARY KEY (consumer, order_key, number)
);

-- What operators have done. `details` is JSON.
CREATE TABLE {schema}.fait_actions (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at  timestamptz NOT NULL,
    action       text        NOT NULL,
    subscription text        NOT NULL,
    details      text        NOT NULL,
    requested_by text        NOT NULL,
    reason       text        NOT NULL
);

-- A cache of folded streams: rows may be deleted at any time, and are written again when needed.
CREATE TABLE {schema}.fait_snapshots (
    stream    text COLLATE "C" PRIMARY KEY,
    version   bigint           NOT NULL,
    event_id  text             NOT NULL,
    fold_hash text             NOT NULL,
    state     json             NOT NULL
);
