-- adopt_log: start a new epoch.
-- In:   nothing
-- Out:  log_id, epoch
UPDATE fait_log SET epoch = epoch + 1 RETURNING log_id, epoch;
