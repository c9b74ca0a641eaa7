-- Snapshots: one saved fold per stream, so that loading need not start at version 1. They are derived data and are saved
-- again when needed: `DELETE FROM fait_snapshots` is allowed at any time.

CREATE TABLE fait_snapshots (
    stream    TEXT PRIMARY KEY,
    version   INTEGER NOT NULL,
    event_id  TEXT NOT NULL,
    fold_hash TEXT NOT NULL,
    state     TEXT NOT NULL
) STRICT;
