-- adopt_log: make an epoch the current one.
-- In:   ?1 epoch_id
-- Out:  nothing
UPDATE fait_log SET epoch_id = ?1;
