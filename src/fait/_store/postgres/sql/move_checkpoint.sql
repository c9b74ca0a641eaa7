-- move_checkpoint: compare-and-set of a checkpoint, provided that the lease has the same fencing token.
-- In:   $1 subscription · $2 expected position · $3 new position · $4 fencing_token
-- Out:  one row; no row: the subscription was taken over
-- Plan: Index Scan using fait_checkpoints_pkey, after one of fait_leases_pkey
UPDATE {schema}.fait_checkpoints SET position = $3
WHERE subscription = $1 AND position = $2
    -- fault: stale-fencing-token-accepted-in-postgres
    AND EXISTS (SELECT FROM {schema}.fait_leases WHERE name = $1 AND fencing_token = $4)
RETURNING position;
