-- read_stream: events of one stream after a version, in order.
-- In:   $1 stream · $2 after · $3 limit · last version ($4), position ($5), recorded_at ($6) and
--       occurred_at ($7), or NULL
-- Out:  events, by version; data, metadata and tags of large ones are NULL: see read_stream_by_size
-- Plan: Merge Append of index scans on (stream, version)
SELECT position, stream, version, type, schema_version, id::text,
    CASE WHEN size_bytes <= 4096 THEN data END AS data, CASE WHEN size_bytes <= 4096 THEN metadata END AS metadata,
    CASE WHEN size_bytes <= 4096 THEN tags END AS tags, recorded_at, occurred_at
FROM {schema}.fait_all_events
WHERE stream = $1 AND version > $2
    AND ($4::bigint IS NULL OR version <= $4)
    AND ($5::bigint IS NULL OR position <= $5)
    AND ($6::timestamptz IS NULL OR recorded_at <= $6)
    AND ($7::timestamptz IS NULL OR occurred_at <= $7)
ORDER BY version
LIMIT $3;
