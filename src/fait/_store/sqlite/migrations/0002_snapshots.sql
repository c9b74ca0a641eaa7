-- States that were folded already, so that loading need not begin at the first event: one row per stream. They are no
-- facts and are made again as they are needed: `DELETE FROM fait_snapshots` is allowed at any time.

CREATE TABLE fait_snapshots (
    stream   TEXT PRIMARY KEY,
    version  INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    fold_hash     TEXT NOT NULL,
    state    TEXT NOT NULL
) STRICT;
