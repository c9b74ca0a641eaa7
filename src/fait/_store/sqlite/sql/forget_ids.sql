-- forget_ids: delete ids of messages before a day.
-- In:   ?1 consumer · ?2 day · ?3 limit
-- Out:  one row for each deleted id
DELETE FROM fait_inbox_ids
WHERE (consumer, source, id) IN (SELECT consumer, source, id FROM fait_inbox_ids WHERE consumer = ?1 AND day < ?2 LIMIT ?3)
RETURNING 1;
