-- move_marks: move marks, or insert those that are expected not to exist.
-- In:   $1 consumer · $2 sources · $3 keys · $4 expected positions, 0: none · $5 positions · $6 time · $7 lanes
--       · $8 buckets
-- Out:  number of moved and inserted marks
-- Plan: Update on fait_inbox_marks, Index Scan using fait_inbox_marks_pkey; Insert on fait_inbox_marks
WITH moves AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $7::integer[], $8::smallint[])
        AS u (source, key, expected, position, lane, bucket)
), moved AS (
    UPDATE {schema}.fait_inbox_marks AS m SET position = u.position, handled_at = $6, lane = u.lane
    FROM moves AS u
    WHERE m.consumer = $1 AND m.source = u.source AND m.key = u.key
        -- fault: mark-moved-from-another-position-in-postgres
        AND m.position = u.expected
        AND m.position < u.position
    RETURNING m.key
), inserted AS (
    INSERT INTO {schema}.fait_inbox_marks (consumer, source, key, position, handled_at, lane, bucket)
    SELECT $1, source, key, position, $6, lane, bucket FROM moves WHERE expected = 0 AND position > 0
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT (SELECT count(*) FROM moved) + (SELECT count(*) FROM inserted);
