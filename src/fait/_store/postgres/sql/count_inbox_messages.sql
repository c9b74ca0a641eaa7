-- count_inbox_messages: number of stored messages of a consumer.
-- In:   $1 consumer
-- Out:  the number
-- Plan: Index Only Scan using fait_inbox_messages_pkey
SELECT count(*) FROM {schema}.fait_inbox_messages WHERE consumer = $1;
