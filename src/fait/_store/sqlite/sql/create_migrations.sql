-- create_migrations: create the table of applied migrations, which must exist before the first migration.
-- In:   nothing
-- Out:  nothing
CREATE TABLE IF NOT EXISTS fait_migrations (
    number          INTEGER PRIMARY KEY,
    name            TEXT NOT NULL,
    checksum        TEXT NOT NULL,
    compatible_from INTEGER NOT NULL,
    applied_at      TEXT NOT NULL
) STRICT;
