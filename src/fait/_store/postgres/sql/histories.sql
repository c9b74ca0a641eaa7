-- histories: event slices of several streams, each after a version.
-- In:   $1 streams · $2 after, for each stream · $3 limit
-- Out:  the stream's number in $1, then the columns of `history`, by number and version
-- Plan: Nested Loop over the streams, index scans on (stream, version)
SELECT w.number, e.*
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (stream, after, number)
CROSS JOIN LATERAL (
    SELECT version, position, id::text, type, schema_version, CASE WHEN size_bytes <= 4096 THEN data END AS data
    FROM {schema}.fait_all_events AS a
    WHERE a.stream = w.stream AND a.version > w.after
    ORDER BY a.version
    LIMIT $3
) AS e
ORDER BY w.number, e.version
LIMIT $3;
