-- inbox_messages: stored messages of an order key after a number, in order.
-- In:   $1 consumer · $2 order key · $3 after · $4 limit
-- Out:  the attributes of a message, in their order
-- Plan: Index Scan using fait_inbox_messages_pkey
SELECT number, order_key, topic, lane, lane_offset, message_key, headers, body, received_at
FROM {schema}.fait_inbox_messages
WHERE consumer = $1 AND order_key = $2 AND number > $3
ORDER BY number
LIMIT $4;
