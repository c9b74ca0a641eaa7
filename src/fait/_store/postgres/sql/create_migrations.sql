-- create_migrations: create the table of applied migrations. It is the only table that exists before the first one.
-- In:   nothing
-- Out:  nothing
CREATE TABLE IF NOT EXISTS {schema}.fait_migrations (
    number          integer     PRIMARY KEY,
    name            text        NOT NULL,
    checksum        text        NOT NULL,
    compatible_from integer     NOT NULL,
    applied_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
