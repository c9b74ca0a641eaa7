-- inbox_marks: marks of a consumer.
-- In:   ?1 consumer · ?2 pairs of source and key, a JSON array
-- Out:  source, key and position of those that exist
SELECT m.source, m.key, m.position
FROM json_each(?2) AS u CROSS JOIN fait_inbox_marks AS m
ON m.consumer = ?1 AND m.source = u.value ->> 0 AND m.key = u.value ->> 1;
