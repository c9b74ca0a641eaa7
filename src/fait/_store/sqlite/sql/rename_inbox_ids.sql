-- rename_inbox_ids: move the ids of a consumer to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_inbox_ids SET consumer = ?2 WHERE consumer = ?1;
