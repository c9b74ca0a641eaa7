-- read_naively: events beyond a position, all that can be seen: the mistake that the high-water mark is there for.
-- In:   ? after
-- Out:  events, by position
-- Plan: Merge Append of index scans on the primary keys
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at
FROM fait_all_events
WHERE position > CAST(? AS bigint)
ORDER BY position
LIMIT 1000;
