-- The log: one global order over two tables of events, and a row for each stream.
--
--   fait_streams    the lock, the version and the clock of each stream
--   fait_events     facts, kept for ever
--   fait_messages   messages that may be dropped once they are old and every subscription has passed them
--   fait_all_events        both, for readers
--   fait_tags       which events carry a tag, by the tag's hash; readers compare the tag itself again

CREATE TABLE {schema}.fait_log (
    log_id            text        NOT NULL,
    epoch             bigint      NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    system_identifier text        NOT NULL,
    timeline          bigint      NOT NULL,
    expired_position           bigint      NOT NULL DEFAULT 0 -- the highest position of all messages that were dropped
);
CREATE UNIQUE INDEX fait_log_single_row ON {schema}.fait_log ((true));

-- Readers depend on numbers being given one at a time, in the order of asking: CACHE 1 is checked whenever a log is opened.
CREATE SEQUENCE {schema}.fait_position CACHE 1;

-- `expected` only carries an append's expectation into ON CONFLICT ... WHERE; nobody reads it later.
CREATE TABLE {schema}.fait_streams (
    stream      text COLLATE "C" PRIMARY KEY,
    version     bigint           NOT NULL,
    recorded_at timestamptz      NOT NULL,
    expected    bigint           NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE {schema}.fait_events (
    position    bigint           NOT NULL DEFAULT nextval('{schema}.fait_position') PRIMARY KEY,
    version     bigint           NOT NULL,
    recorded_at timestamptz      NOT NULL,
    occurred_at timestamptz      NOT NULL,
    id          uuid             NOT NULL,
    schema_version      integer          NOT NULL,
    stream      text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    data        json             NOT NULL,
    metadata    json             NOT NULL,
    tags        text[],
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

-- Facts do not change. These stop accidents; whoever owns the tables can get around them.
CREATE FUNCTION {schema}.fait_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'fait_messages' AND TG_OP <> 'UPDATE'
        AND current_setting('fait.maintenance', true) = 'retention' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'events are facts: % takes no %', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER fait_events_append_only BEFORE UPDATE OR DELETE ON {schema}.fait_events
    FOR EACH ROW EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_no_truncate BEFORE TRUNCATE ON {schema}.fait_events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_append_only BEFORE UPDATE OR DELETE ON {schema}.fait_messages
    FOR EACH ROW EXECUTE FUNCTION {schema}.fait_events_append_only();
CREATE TRIGGER fait_events_no_truncate BEFORE TRUNCATE ON {schema}.fait_messages
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fait_events_append_only();
