-- read_stream_by_size: read_stream for a page with large events: until their number or their size reaches a limit.
-- In:   $1-$7 as in read_stream · $8 max_bytes
-- Out:  events, each with the total size up to it, by version
-- Plan: WindowAgg over a Merge Append of index scans on (stream, version)
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at,
    total_bytes
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
