-- forget_inbox_messages: delete the messages of a consumer.
-- In:   ?1 consumer
-- Out:  nothing
DELETE FROM fait_inbox_messages WHERE consumer = ?1;
