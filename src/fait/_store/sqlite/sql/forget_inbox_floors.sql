-- forget_inbox_floors: delete the floors of a consumer.
-- In:   ?1 consumer
-- Out:  nothing
DELETE FROM fait_inbox_floors WHERE consumer = ?1;
