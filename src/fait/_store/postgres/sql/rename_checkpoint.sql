-- rename_checkpoint: move the checkpoint of a subscription to another name.
-- In:   $1 old name · $2 new name
-- Out:  nothing
-- Plan: Index Scan using fait_checkpoints_pkey
UPDATE {schema}.fait_checkpoints SET subscription = $2 WHERE subscription = $1;
