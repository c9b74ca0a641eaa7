-- stream_versions: the versions of several streams.
-- In:   $1 streams
-- Out:  a row for each stream, in the order given; 0: no such stream
-- Plan: Index Scan using fait_streams_pkey
SELECT coalesce(s.version, 0)
FROM unnest($1::text[]) WITH ORDINALITY AS n (stream, number)
LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = n.stream LIMIT 1) AS s ON true
ORDER BY n.number;
