-- adopt_checkpoints: take checkpoints along into a new epoch; one beyond the log's end stays behind, and stops its subscription.
-- In:   ?1 log_id · ?2 the old epoch · ?3 the new one · ?4 position of the last event
-- Out:  nothing
UPDATE fait_checkpoints SET epoch = ?3 WHERE log_id = ?1 AND epoch = ?2 AND position <= ?4;
