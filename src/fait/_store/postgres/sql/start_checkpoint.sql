-- start_checkpoint: insert the first checkpoint of a subscription, unless it has one.
-- In:   $1 subscription · $2 app · $3 position · $4 log_id · $5 epoch_id · $6 definition_hash
-- Out:  nothing; read the current checkpoint with the next statement, as an existing one may not be visible to this one
-- Plan: Insert on fait_checkpoints, after a lock: no message is deleted before the checkpoint is visible
INSERT INTO {schema}.fait_checkpoints (subscription, app, position, log_id, epoch_id, definition_hash)
SELECT $1, $2, $3::bigint, $4, $5, $6
FROM pg_advisory_xact_lock_shared(hashtextextended('{schema}.fait_retention', 0))
ON CONFLICT (subscription) DO NOTHING;
