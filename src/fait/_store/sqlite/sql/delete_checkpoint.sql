-- delete_checkpoint: delete the checkpoint of a removed subscription.
-- In:   ?1 subscription
-- Out:  nothing
DELETE FROM fait_checkpoints WHERE subscription = ?1;
