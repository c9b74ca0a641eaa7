-- adopt_checkpoints: carry checkpoints over to a new epoch. A checkpoint beyond the end of the log keeps the old epoch,
-- and its subscription does not start.
-- In:   ?1 log_id · ?2 id of the old epoch · ?3 id of the new epoch · ?4 position of the last event
-- Out:  nothing
UPDATE fait_checkpoints SET epoch_id = ?3 WHERE log_id = ?1 AND epoch_id = ?2 AND position <= ?4;
