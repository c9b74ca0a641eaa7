-- raise_floors: raise floors.
-- In:   $1 consumer · $2 sources · $3 buckets · $4 lanes · $5 positions
-- Out:  nothing
-- Plan: Insert on fait_inbox_floors
INSERT INTO {schema}.fait_inbox_floors AS f (consumer, source, bucket, lane, position)
SELECT $1, source, bucket, lane, position
FROM unnest($2::text[], $3::smallint[], $4::integer[], $5::bigint[]) AS u (source, bucket, lane, position)
ON CONFLICT (consumer, source, bucket, lane) DO UPDATE SET position = excluded.position
WHERE f.position < excluded.position;
