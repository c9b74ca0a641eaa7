-- forget_inbox_ids: delete the ids of a consumer.
-- In:   ?1 consumer
-- Out:  nothing
DELETE FROM fait_inbox_ids WHERE consumer = ?1;
