-- start_checkpoint: insert the first checkpoint of a subscription, if it has none.
-- In:   ?1 subscription · ?2 app · ?3 position · ?4 log_id · ?5 epoch_id · ?6 definition_hash
-- Out:  nothing
INSERT OR IGNORE INTO fait_checkpoints (subscription, app, position, log_id, epoch_id, definition_hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6);
