-- rename_inbox_floors: move the floors of a consumer to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_inbox_floors SET consumer = ?2 WHERE consumer = ?1;
