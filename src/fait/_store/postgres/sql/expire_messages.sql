-- expire_messages: see migrations/0007_expire_messages_1.sql.
-- In:   $1 message_type · $2 recorded_before · $3 up_to · $4 after · $5 max_messages
-- Out:  number of deleted and of examined messages, position of the last examined message
SELECT deleted, examined, last_position FROM {schema}.fait_expire_messages_1($1, $2, $3, $4, $5);
