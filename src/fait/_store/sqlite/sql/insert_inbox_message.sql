-- insert_inbox_message: store a message.
-- In:   ?1 consumer · ?2 to ?10 its attributes, in their order
-- Out:  nothing
INSERT INTO fait_inbox_messages (
    consumer, number, order_key, topic, lane, lane_offset, message_key, headers, body, received_at
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10);
