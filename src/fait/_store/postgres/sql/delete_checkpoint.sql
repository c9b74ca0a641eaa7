-- delete_checkpoint: a subscription is gone.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Index Scan using fait_checkpoints_pkey
DELETE FROM {schema}.fait_checkpoints WHERE subscription = $1;
