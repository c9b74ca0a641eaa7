-- delete_checkpoint: delete the checkpoint of a subscription.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Index Scan using fait_checkpoints_pkey
DELETE FROM {schema}.fait_checkpoints WHERE subscription = $1;
