-- The log: events in one global order, and one row for each stream.
--
--   fait_epochs      the epochs of the log; they are never changed or deleted
--   fait_log         the identity of the log: one row
--   fait_streams     the version and the last recorded_at of each stream; the row is also the stream's lock
--   fait_events      events; they are never changed or deleted
--   fait_messages    expiring events, which fait_expire_messages_1 deletes
--   fait_all_events  both tables, for readers
--   fait_tags        positions of the events that carry a tag, by the tag's 64-bit hash; hashes can collide, so readers
--                    also compare fait_all_events.tags

-- The epoch of an event is the last one, by number, that started before the event's position.
CREATE TABLE {schema}.fait_epochs (
    number         integer     PRIMARY KEY, -- from 1; only its order is used: copies of a log assign the same numbers
    epoch_id       text        NOT NULL UNIQUE,
    after_position bigint      NOT NULL, -- position of the last event when the epoch started
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE {schema}.fait_log (
    log_id            text        NOT NULL,
    epoch_id          text        NOT NULL REFERENCES {schema}.fait_epochs (epoch_id), -- the last epoch
    system_identifier text        NOT NULL,
    timeline          bigint      NOT NULL,
    expired_position  bigint      NOT NULL DEFAULT 0 -- the highest position of all deleted messages
);
CREATE UNIQUE INDEX fait_log_single_row ON {schema}.fait_log ((true));

-- CACHE 1 is required: with a larger cache each session reserves a block of numbers, and a number below the high-water
-- mark could still be used. fait checks it whenever it opens a log.
CREATE SEQUENCE {schema}.fait_position CACHE 1;

-- `expected` is the expected version of the append that wrote the row last. It exists only so that ON CONFLICT ... DO
-- UPDATE ... WHERE can refer to it as excluded.expected; nothing reads the stored value.
CREATE TABLE {schema}.fait_streams (
    stream      text COLLATE "C" PRIMARY KEY,
    version     bigint           NOT NULL,
    recorded_at timestamptz      NOT NULL,
    expected    bigint           NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE {schema}.fait_events (
    position       bigint           NOT NULL DEFAULT nextval('{schema}.fait_position') PRIMARY KEY,
    version        bigint           NOT NULL,
    recorded_at    timestamptz      NOT NULL,
    occurred_at    timestamptz      NOT NULL,
    id             uuid             NOT NULL,
    schema_version integer          NOT NULL,
    -- Size of data, metadata and tags, which limits pages. To compute it from the stored values, each read would have to
    -- decompress them. The append functions set it: the expression of a generated column is parsed in each INSERT.
    size_bytes     integer          NOT NULL,
    stream         text COLLATE "C" NOT NULL,
    type           text COLLATE "C" NOT NULL,
    data           json             NOT NULL,
    metadata       json             NOT NULL,
    tags           text[],
    CONSTRAINT fait_events_version UNIQUE (stream, version),
    CONSTRAINT fait_events_id UNIQUE (id)
);

CREATE TABLE {schema}.fait_messages (
    LIKE {schema}.fait_events INCLUDING DEFAULTS,
    PRIMARY KEY (position),
    CONSTRAINT fait_messages_version UNIQUE (stream, version),
    CONSTRAINT fait_messages_id UNIQUE (id)
);
CREATE INDEX fait_messages_type ON {schema}.fait_messages (type, position);

CREATE VIEW {schema}.fait_all_events AS
    SELECT * FROM {schema}.fait_events
    UNION ALL
    SELECT * FROM {schema}.fait_messages;

CREATE TABLE {schema}.fait_tags (
    tag      bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tag, position)
);

-- fait_epoch_1 and fait_timeline_1 return fait_log.epoch_id and fait_log.timeline as constants, which fait_confirm_1
-- writes into them. PL/pgSQL inlines them and needs no query, so that each append can compare them. They are STABLE:
-- plans depend on an inlined function and are made again when it is replaced, but the planner evaluates an IMMUTABLE one
-- without such a dependency. An open append is not affected: an adoption waits for it.
CREATE FUNCTION {schema}.fait_epoch_1() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
CREATE FUNCTION {schema}.fait_timeline_1() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT NULL::bigint';

CREATE FUNCTION {schema}.fait_confirm_1() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    confirmed record;
BEGIN
    SELECT epoch_id, timeline INTO STRICT confirmed FROM {schema}.fait_log;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s.fait_epoch_1() RETURNS text LANGUAGE sql STABLE AS %L',
        '{schema}', format('SELECT %L::text', confirmed.epoch_id)
    );
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s.fait_timeline_1() RETURNS bigint LANGUAGE sql STABLE AS %L',
        '{schema}', format('SELECT %s::bigint', confirmed.timeline)
    );
END $$;

-- fait_is_current_1: whether the log can be used by a caller.
--
-- Appends and readers call it in the transaction that relies on it. A check when a connection is opened would not be
-- enough: a pooler keeps the connection to its client when it connects to another server.
--
--   * The timeline of the cluster is the recorded one. After a failover, the last events may be missing, and their
--     positions would be assigned again.
--   * The current epoch is the one in which the caller opened the log (expected_epoch; NULL: any).
--   * The sequence has reached the last event that the caller knows (known_position; NULL: none). Logical replication
--     and partial restores copy events without the sequence. New events would get positions that readers have passed.
CREATE FUNCTION {schema}.fait_is_current_1(expected_epoch text, known_position bigint)
RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT
        -- fault: failover-behind-pooler-not-noticed
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint = {schema}.fait_timeline_1()
        -- fault: process-of-earlier-epoch-appends
        AND coalesce({schema}.fait_epoch_1() = expected_epoch, true)
        -- fault: append-below-last-event
        AND coalesce(coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) >= known_position, true)
$$;

-- fait_refuse_1: raises the reason for which fait_is_current_1 is false.
CREATE FUNCTION {schema}.fait_refuse_1(expected_epoch text, known_position bigint)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    current_timeline bigint := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
BEGIN
    IF current_timeline IS DISTINCT FROM {schema}.fait_timeline_1() THEN
        RAISE EXCEPTION 'the log was restored or failed over: its timeline changed from % to %',
            {schema}.fait_timeline_1(), current_timeline
            USING ERRCODE = 'FA003', HINT = 'Stop all processes, and then run fait log adopt.';
    ELSIF expected_epoch <> {schema}.fait_epoch_1() THEN
        RAISE EXCEPTION 'the log was adopted, and a new epoch started, after this process had opened it'
            USING ERRCODE = 'FA003', HINT = 'Restart the process.';
    ELSIF NOT has_sequence_privilege('{schema}.fait_position', 'USAGE, SELECT') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for sequence fait_position';
    END IF;
    RAISE EXCEPTION 'the last value of the sequence fait_position is below the event at position %', known_position
        USING ERRCODE = 'FA003', HINT = 'Stop all processes, and then run fait log adopt --in-place.';
END $$;

-- Events and epochs are append-only. The triggers prevent accidents; the owner of the tables can disable them.
CREATE FUNCTION {schema}.fait_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'fait_messages' AND TG_OP <> 'UPDATE'
        AND current_setting('fait.maintenance', true) = 'retention' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% on % is not allowed: the log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Append an event that corrects the earlier one.';
END $$;

CREATE TRIGGER fait_events_append_only BEFORE UPDATE OR DELETE ON {schema}.fait_events
    FOR EACH ROW EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_no_truncate BEFORE TRUNCATE ON {schema}.fait_events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_append_only BEFORE UPDATE OR DELETE ON {schema}.fait_messages
    FOR EACH ROW EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_no_truncate BEFORE TRUNCATE ON {schema}.fait_messages
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_epochs_append_only BEFORE UPDATE OR DELETE ON {schema}.fait_epochs
    FOR EACH ROW EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_epochs_no_truncate BEFORE TRUNCATE ON {schema}.fait_epochs
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fait_events_append_only();
