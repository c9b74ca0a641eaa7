-- The ledger: everything derived from the log. The tables of read models are in the same schema.

CREATE TABLE {schema}.fait_checkpoints (
    subscription    text COLLATE "C" PRIMARY KEY,
    app             text             NOT NULL,
    position        bigint           NOT NULL,
    log_id          text             NOT NULL,
    epoch_id        text             NOT NULL,
    definition_hash text             NOT NULL
);

CREATE TABLE {schema}.fait_leases (
    name          text COLLATE "C" PRIMARY KEY,
    owner         text             NOT NULL, -- '' if the lease is free
    fencing_token bigint           NOT NULL,
    heartbeat     bigint           NOT NULL
);

-- A cache of folded streams: rows may be deleted at any time, and are written again when needed.
CREATE TABLE {schema}.fait_snapshots (
    stream    text COLLATE "C" PRIMARY KEY,
    version   bigint           NOT NULL,
    event_id  text             NOT NULL,
    fold_hash text             NOT NULL,
    state     json             NOT NULL
);
