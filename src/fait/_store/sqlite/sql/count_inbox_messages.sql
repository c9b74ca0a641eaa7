-- count_inbox_messages: number of stored messages of a consumer.
-- In:   ?1 consumer
-- Out:  the number
SELECT count(*) FROM fait_inbox_messages WHERE consumer = ?1;
