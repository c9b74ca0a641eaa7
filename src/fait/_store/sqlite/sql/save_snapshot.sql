-- save_snapshot: insert or replace the snapshot of a stream.
-- In:   ?1 stream · ?2 version · ?3 event_id · ?4 fold_hash · ?5 state
-- Out:  nothing
INSERT OR REPLACE INTO fait_snapshots (stream, version, event_id, fold_hash, state)
VALUES (?1, ?2, ?3, ?4, ?5);
