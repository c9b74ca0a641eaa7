-- load_snapshots: the snapshots of some streams.
-- In:   $1 streams
-- Out:  those that exist
-- Plan: Index Scan using fait_snapshots_pkey
SELECT stream, version, event_id, fold_hash, state
FROM {schema}.fait_snapshots
WHERE stream = ANY($1::text[]);
