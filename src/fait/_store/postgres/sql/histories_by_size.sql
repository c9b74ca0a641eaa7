-- histories_by_size: histories for a page with large events: until their number or their size reaches a limit.
-- In:   $1-$3 as in histories · $4 max_bytes
-- Out:  as histories, with the total size up to the event
-- Plan: WindowAgg over a Nested Loop over the streams, index scans on (stream, version)
SELECT number, version, position, id, type, schema_version, data, total_bytes
FROM (
    SELECT *, sum(size_bytes) OVER (ORDER BY number, version ROWS UNBOUNDED PRECEDING) AS total_bytes
    FROM (
        SELECT w.number, e.*
        FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (stream, after, number)
        CROSS JOIN LATERAL (
            SELECT version, position, id::text, type, schema_version, data, size_bytes
            FROM {schema}.fait_all_events AS a
            WHERE a.stream = w.stream AND a.version > w.after
            ORDER BY a.version
            LIMIT $3
        ) AS e
        ORDER BY w.number, e.version
        LIMIT $3
    ) AS next_events
) AS e
WHERE total_bytes - size_bytes < $4
ORDER BY number, version;
