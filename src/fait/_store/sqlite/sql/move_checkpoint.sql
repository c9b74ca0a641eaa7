-- move_checkpoint: advance a checkpoint by compare-and-set, if the fencing token of the lease is still current.
-- In:   ?1 subscription · ?2 position before · ?3 position after · ?4 fencing token
-- Out:  one row; no row: the subscription was taken over
UPDATE fait_checkpoints SET position = ?3
-- fault: checkpoint-not-compared
WHERE subscription = ?1 AND position = ?2
    -- fault: stale-fencing-token-accepted
    AND EXISTS (SELECT 1 FROM fait_leases WHERE name = ?1 AND fencing_token = ?4)
RETURNING position;
