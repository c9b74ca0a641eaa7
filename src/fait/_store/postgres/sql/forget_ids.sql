-- forget_ids: delete ids of messages before a day.
-- In:   $1 consumer · $2 day · $3 limit
-- Out:  one row for each deleted id
-- Plan: Index Scan using fait_inbox_ids_day
DELETE FROM {schema}.fait_inbox_ids
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {schema}.fait_inbox_ids WHERE consumer = $1 AND day < $2 LIMIT $3
))
RETURNING 1;
