-- rename_inbox_offsets: move the offsets of a consumer to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_inbox_offsets SET consumer = ?2 WHERE consumer = ?1;
