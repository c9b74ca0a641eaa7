-- rename_inbox_messages: move the messages of a consumer to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_inbox_messages SET consumer = ?2 WHERE consumer = ?1;
