-- The ledger: what was made of the log. Read models' tables stand beside these, in the same schema.

CREATE TABLE {schema}.fait_checkpoints (
    subscription text COLLATE "C" PRIMARY KEY,
    app          text             NOT NULL,
    position     bigint           NOT NULL,
    log_id       text             NOT NULL,
    epoch        bigint           NOT NULL,
    definition_hash        text             NOT NULL
);

CREATE TABLE {schema}.fait_leases (
    name  text COLLATE "C" PRIMARY KEY,
    owner text             NOT NULL,
    fencing_token bigint           NOT NULL,
    heartbeat  bigint           NOT NULL
);

-- States that were folded already: no facts. They are made again as they are needed, and may be deleted at any time.
CREATE TABLE {schema}.fait_snapshots (
    stream   text COLLATE "C" PRIMARY KEY,
    version  bigint           NOT NULL,
    event_id text             NOT NULL,
    fold_hash     text             NOT NULL,
    state    json             NOT NULL
);
