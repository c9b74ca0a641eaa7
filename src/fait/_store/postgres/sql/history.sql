-- history: event slices of one stream after a version: the columns that a fold needs.
-- In:   $1-$8 as in read_stream
-- Out:  version, position, id, type, schema_version, data, total size up to the event, by version
-- Plan: WindowAgg over a Merge Append of index scans on (stream, version)
SELECT version, position, id::text, type, schema_version, data, total_bytes
FROM (
    SELECT *, sum(size_bytes) OVER (ORDER BY version ROWS UNBOUNDED PRECEDING) AS total_bytes
    FROM (
        SELECT *
        FROM {schema}.fait_all_events
        WHERE stream = $1 AND version > $2
            AND ($4::bigint IS NULL OR version <= $4)
            AND ($5::bigint IS NULL OR position <= $5)
            AND ($6::timestamptz IS NULL OR recorded_at <= $6)
            AND ($7::timestamptz IS NULL OR occurred_at <= $7)
        ORDER BY version
        LIMIT $3
    ) AS next_events
) AS e
WHERE total_bytes - size_bytes < $8
ORDER BY version;
