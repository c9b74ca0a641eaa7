-- insert_id: insert the id of a message.
-- In:   ?1 consumer · ?2 source · ?3 id · ?4 day
-- Out:  nothing
INSERT INTO fait_inbox_ids (consumer, source, id, day) VALUES (?1, ?2, ?3, ?4);
