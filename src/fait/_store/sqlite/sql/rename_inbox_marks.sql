-- rename_inbox_marks: move the marks of a consumer to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_inbox_marks SET consumer = ?2 WHERE consumer = ?1;
