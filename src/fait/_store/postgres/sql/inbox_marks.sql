-- inbox_marks: marks of a consumer.
-- In:   $1 consumer · $2 sources · $3 keys, one for each source
-- Out:  source, key and position of those that exist
-- Plan: Index Scan using fait_inbox_marks_pkey for each key, by LIMIT also before the table has statistics
SELECT u.source, u.key, m.position
FROM unnest($2::text[], $3::text[]) AS u (source, key) CROSS JOIN LATERAL (
    SELECT position FROM {schema}.fait_inbox_marks AS m
    WHERE m.consumer = $1 AND m.source = u.source AND m.key = u.key
    LIMIT 1
) AS m;
