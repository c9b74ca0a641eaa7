-- read_without_high_water_mark: read all visible events after a position.
-- This is the mistake that the high-water mark prevents: an append with a lower position may still be uncommitted.
-- In:   ? after
-- Out:  events, by position
-- Plan: Merge Append of index scans on the primary keys
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at
FROM fait_all_events
WHERE position > CAST(? AS bigint)
ORDER BY position
LIMIT 1000;
