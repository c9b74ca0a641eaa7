-- move_checkpoint: move a checkpoint on, if it is where it was and the lease is still the same.
-- In:   $1 subscription · $2 from position · $3 to position · $4 the lease's fence
-- Out:  one row; no row = another process has taken over
-- Plan: Index Scan using fait_checkpoints_pkey, after one of fait_leases_pkey
UPDATE {schema}.fait_checkpoints SET position = $3
WHERE subscription = $1 AND position = $2
    -- fault: stale-fencing-token-accepted-in-postgres
    AND EXISTS (SELECT FROM {schema}.fait_leases WHERE name = $1 AND fencing_token = $4)
RETURNING position;
