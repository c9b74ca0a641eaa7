-- load_snapshots: load the snapshots of several streams.
-- In:   ?1 streams as a JSON array
-- Out:  the snapshots that exist, in any order
-- Plan: SEARCH fait_snapshots USING INDEX sqlite_autoindex_fait_snapshots_1 (stream=?)
SELECT stream, version, event_id, fold_hash, state
FROM fait_snapshots
WHERE stream IN (SELECT value FROM json_each(?1));
