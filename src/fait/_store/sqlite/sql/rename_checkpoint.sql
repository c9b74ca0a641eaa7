-- rename_checkpoint: a subscription has another name now.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_checkpoints SET subscription = ?2 WHERE subscription = ?1;
