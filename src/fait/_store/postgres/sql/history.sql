-- history: event slices of one stream after a version: the columns that a fold needs.
-- In:   $1-$7 as in read_stream
-- Out:  version, position, id, type, schema_version, data, by version; data of large events is NULL: see history_by_size
-- Plan: Merge Append of index scans on (stream, version)
SELECT version, position, id::text, type, schema_version, CASE WHEN size_bytes <= 4096 THEN data END AS data
FROM {schema}.fait_all_events
WHERE stream = $1 AND version > $2
    AND ($4::bigint IS NULL OR version <= $4)
    AND ($5::bigint IS NULL OR position <= $5)
    AND ($6::timestamptz IS NULL OR recorded_at <= $6)
    AND ($7::timestamptz IS NULL OR occurred_at <= $7)
ORDER BY version
LIMIT $3;
