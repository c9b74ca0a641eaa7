-- read_log_by_size: read_log for a page with large events: until their number or their size reaches a limit.
-- In:   $1-$5 as in read_log · $6 max_bytes
-- Out:  events, each with the total size up to it, by position
-- Plan: WindowAgg over a Merge Append of index scans on the primary keys
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at,
    total_bytes
FROM (
    SELECT *, sum(size_bytes) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS total_bytes
    FROM (
        SELECT *
        FROM {schema}.fait_all_events
        WHERE position > $1 AND position <= $2
            AND ($4::text[] IS NULL OR type = ANY ($4))
            AND ($5::text IS NULL OR split_part(stream, '-', 1) = $5)
        ORDER BY position
        LIMIT $3
    ) AS next_events
) AS e
WHERE total_bytes - size_bytes < $6
ORDER BY position;
