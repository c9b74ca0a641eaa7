-- inbox_marks: marks of a consumer.
-- In:   $1 consumer · $2 sources · $3 keys, one for each source
-- Out:  source, key and position of those that exist
-- Plan: Index Scan using fait_inbox_marks_pkey
SELECT m.source, m.key, m.position
FROM {schema}.fait_inbox_marks AS m JOIN unnest($2::text[], $3::text[]) AS u (source, key) USING (source, key)
WHERE m.consumer = $1;
