-- forget_inbox_offsets: delete the offsets of a consumer.
-- In:   ?1 consumer
-- Out:  nothing
DELETE FROM fait_inbox_offsets WHERE consumer = ?1;
