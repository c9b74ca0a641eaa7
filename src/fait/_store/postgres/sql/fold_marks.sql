-- fold_marks: delete marks that are not above their floor, and remember the highest position of those of each floor.
-- In:   $1 consumer · $2 time before which they were moved · $3 sources and $4 keys of marks that remain · $5 limit
-- Out:  number of deleted marks
-- Plan: Index Scan using fait_inbox_marks_pkey, seldom; Hash Join with fait_inbox_floors
WITH old AS MATERIALIZED (
    SELECT m.ctid AS place
    FROM {schema}.fait_inbox_marks AS m JOIN {schema}.fait_inbox_floors AS f USING (consumer, source, bucket, lane)
    WHERE m.consumer = $1 AND m.handled_at < $2
        -- fault: mark-above-floor-folded-in-postgres
        AND m.position <= f.position
        AND NOT EXISTS (
            SELECT FROM unnest($3::text[], $4::text[]) AS u (source, key) WHERE u.source = m.source AND u.key = m.key
        )
    LIMIT $5
), deleted AS (
    DELETE FROM {schema}.fait_inbox_marks WHERE ctid = ANY (ARRAY(SELECT place FROM old))
    RETURNING source, bucket, lane, position
), highest AS (
    SELECT source, bucket, lane, max(position) AS position FROM deleted GROUP BY source, bucket, lane
), folded AS (
    UPDATE {schema}.fait_inbox_floors AS f SET folded = greatest(f.folded, h.position)
    FROM highest AS h
    WHERE f.consumer = $1 AND f.source = h.source AND f.bucket = h.bucket AND f.lane = h.lane
)
SELECT count(*) FROM deleted;
