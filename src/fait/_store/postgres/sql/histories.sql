-- histories: what a fold needs of the events of several streams, each beyond a version, one stream after another.
-- In:   $1 streams · $2 after, for each · $3 limit
-- Out:  the stream's place among those asked for, then as history
-- Plan: Nested Loop over the streams, index scans on (stream, version)
SELECT w.place, e.*
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (stream, after, place)
CROSS JOIN LATERAL (
    SELECT version, position, id::text, type, schema_version, data
    FROM {schema}.fait_all_events AS a
    WHERE a.stream = w.stream AND a.version > w.after
    ORDER BY a.version
    LIMIT $3
) AS e
ORDER BY w.place, e.version
LIMIT $3;
