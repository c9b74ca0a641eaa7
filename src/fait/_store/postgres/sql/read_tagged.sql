-- read_tagged: events after a position that carry all of the given tags, in order.
-- In:   $1-$5 as in read_log · $6 tags
-- Out:  as read_log; see read_tagged_by_size
-- Plan: Index Only Scan using fait_tags_pkey, and the events by their primary keys
SELECT e.position, stream, version, type, schema_version, id::text,
    CASE WHEN size_bytes <= 4096 THEN data END AS data, CASE WHEN size_bytes <= 4096 THEN metadata END AS metadata,
    CASE WHEN size_bytes <= 4096 THEN tags END AS tags, recorded_at, occurred_at
FROM {schema}.fait_tags AS t JOIN {schema}.fait_all_events AS e ON e.position = t.position
WHERE t.tag = hashtextextended(($6::text[])[1], 0) AND t.position > $1 AND t.position <= $2
    AND e.tags @> $6::text[]
    AND ($4::text[] IS NULL OR type = ANY ($4))
    AND ($5::text IS NULL OR split_part(stream, '-', 1) = $5)
ORDER BY t.position
LIMIT $3;
