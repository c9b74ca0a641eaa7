-- load_snapshots: the states that are kept of some streams.
-- In:   $1 streams
-- Out:  the snapshots that there are
-- Plan: Index Scan using fait_snapshots_pkey
SELECT stream, version, event_id, fold_hash, state
FROM {schema}.fait_snapshots
WHERE stream = ANY($1::text[]);
