-- delete_checkpoint: a subscription is gone.
-- In:   ?1 subscription
-- Out:  nothing
DELETE FROM fait_checkpoints WHERE subscription = ?1;
