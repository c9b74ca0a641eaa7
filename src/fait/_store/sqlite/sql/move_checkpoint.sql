-- move_checkpoint: move a checkpoint on, if it is where it was and the lease is still the same.
-- In:   ?1 subscription · ?2 from position · ?3 to position · ?4 the lease's fence
-- Out:  one row; no row = another process has taken over
UPDATE fait_checkpoints SET position = ?3
-- fault: checkpoint-not-compared
WHERE subscription = ?1 AND position = ?2
    -- fault: stale-fencing-token-accepted
    AND EXISTS (SELECT 1 FROM fait_leases WHERE name = ?1 AND fencing_token = ?4)
RETURNING position;
