-- history_by_size: history for a page with large events: until their number or their size reaches a limit.
-- In:   $1-$7 as in read_stream · $8 max_bytes
-- Out:  as history, with the total size up to the event
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
