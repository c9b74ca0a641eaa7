-- rename_checkpoint: rename a subscription.
-- In:   ?1 old name · ?2 new name
-- Out:  nothing
UPDATE fait_checkpoints SET subscription = ?2 WHERE subscription = ?1;
