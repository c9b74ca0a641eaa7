-- expire_messages: see migrations/0007_expire_messages_1.sql.
-- In:   $1 type · $2 recorded before · $3 behind, the last position considered · $4 after · $5 limit
-- Out:  how many were dropped, how many were considered, the last position of these
SELECT dropped, considered, last_position FROM {schema}.fait_expire_messages_1($1, $2, $3, $4, $5);
