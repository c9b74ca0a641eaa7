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
    PRIMARY KEY (subscription, generation)
);

-- The ranges of a subscription cover the hashes 0 to 65,535 of its order keys: `low` is included, `high` is not. All
-- events of a range up to `position` are processed. Pages keep space, so that moving a position needs no index update.
CREATE TABLE {schema}.fait_ranges (
    subscription  text COLLATE "C" NOT NULL,
    generation    integer          NOT NULL,
    low           integer          NOT NULL,
    high          integer          NOT NULL,
    position      bigint           NOT NULL,
    worker        text             NOT NULL, -- '' if the range is free
    fencing_token bigint           NOT NULL,
    PRIMARY KEY (subscription, generation, low),
    CHECK (0 <= low AND low < high AND high <= 65536)
) WITH (fillfactor = 50);

CREATE TABLE {schema}.fait_workers (
    worker    text   PRIMARY KEY,
    heartbeat bigint NOT NULL
) WITH (fillfactor = 50);

-- A cache of folded streams: rows may be deleted at any time, and are written again when needed.
CREATE TABLE {schema}.fait_snapshots (
    stream    text COLLATE "C" PRIMARY KEY,
    version   bigint           NOT NULL,
    event_id  text             NOT NULL,
    fold_hash text             NOT NULL,
    state     json             NOT NULL
);
