-- read_checkpoints: read one checkpoint or all.
-- In:   ?1 one subscription, or NULL for all
-- Out:  checkpoints, by subscription
SELECT subscription, app, position, log_id, epoch_id, definition_hash
FROM fait_checkpoints
WHERE ?1 IS NULL OR subscription = ?1
ORDER BY subscription;
