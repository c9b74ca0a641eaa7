-- delete_inbox_messages: delete the stored messages of an order key before a number.
-- In:   $1 consumer · $2 order key · $3 before
-- Out:  nothing
-- Plan: Delete on fait_inbox_messages, Index Scan using fait_inbox_messages_pkey
DELETE FROM {schema}.fait_inbox_messages WHERE consumer = $1 AND order_key = $2 AND number < $3;
