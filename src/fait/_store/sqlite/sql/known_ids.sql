-- known_ids: ids of messages of a consumer that are stored.
-- In:   ?1 consumer · ?2 pairs of source and id, a JSON array
-- Out:  source and id of those that exist
SELECT i.source, i.id
FROM json_each(?2) AS u CROSS JOIN fait_inbox_ids AS i
ON i.consumer = ?1 AND i.source = u.value ->> 0 AND i.id = u.value ->> 1;
