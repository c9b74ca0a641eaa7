-- read_log: events after a position, in order.
-- In:   $1 after · $2 last position, a high-water mark · $3 limit · $4 types or NULL · $5 category or NULL
-- Out:  events, by position; data, metadata and tags of large ones are NULL: see read_log_by_size
-- Plan: Merge Append of index scans on the primary keys
SELECT position, stream, version, type, schema_version, id::text,
    CASE WHEN size_bytes <= 4096 THEN data END AS data, CASE WHEN size_bytes <= 4096 THEN metadata END AS metadata,
    CASE WHEN size_bytes <= 4096 THEN tags END AS tags, recorded_at, occurred_at
FROM {schema}.fait_all_events
WHERE position > $1 AND position <= $2
    AND ($4::text[] IS NULL OR type = ANY ($4))
    AND ($5::text IS NULL OR split_part(stream, '-', 1) = $5)
ORDER BY position
LIMIT $3;
