-- list_streams: streams in the order of their names, after a name.
-- In:   $1 after · $2 limit · $3 category or NULL
-- Out:  name and version
-- Plan: Index Scan using fait_streams_pkey
SELECT stream, version
FROM {schema}.fait_streams
WHERE stream > $1 AND ($3::text IS NULL OR split_part(stream, '-', 1) = $3)
ORDER BY stream
LIMIT $2;
