-- rename_checkpoint: a subscription has another name now.
-- In:   $1 old name · $2 new name
-- Out:  nothing
-- Plan: Index Scan using fait_checkpoints_pkey
UPDATE {schema}.fait_checkpoints SET subscription = $2 WHERE subscription = $1;
