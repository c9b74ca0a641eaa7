-- read_tagged_by_size: read_tagged for a page with large events: until their number or their size reaches a limit.
-- In:   $1-$6 as in read_tagged · $7 max_bytes
-- Out:  events, each with the total size up to it, by position
-- Plan: WindowAgg over an Index Only Scan using fait_tags_pkey, and the events by their primary keys
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at,
    total_bytes
FROM (
    SELECT *, sum(size_bytes) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS total_bytes
    FROM (
        SELECT e.*
        FROM {schema}.fait_tags AS t JOIN {schema}.fait_all_events AS e ON e.position = t.position
        WHERE t.tag = hashtextextended(($6::text[])[1], 0) AND t.position > $1 AND t.position <= $2
            AND e.tags @> $6::text[]
            AND ($4::text[] IS NULL OR type = ANY ($4))
            AND ($5::text IS NULL OR split_part(stream, '-', 1) = $5)
        ORDER BY t.position
        LIMIT $3
    ) AS next_events
) AS e
WHERE total_bytes - size_bytes < $7
ORDER BY position;
