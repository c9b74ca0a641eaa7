-- read_checkpoints: checkpoints of subscriptions.
-- In:   $1 one subscription, or NULL for all
-- Out:  checkpoints, by subscription
-- Plan: Seq Scan on fait_checkpoints: one row for each subscription
SELECT subscription, app, position, log_id, epoch_id, definition_hash
FROM {schema}.fait_checkpoints
WHERE $1::text IS NULL OR subscription = $1
ORDER BY subscription;
