-- rename_failures: move the failures of a subscription to another name.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_failures SET subscription = ?2 WHERE subscription = ?1;
