-- start_checkpoint: write a subscription's first checkpoint, unless it has one.
-- In:   $1 subscription · $2 app · $3 position · $4 log_id · $5 epoch · $6 shape
-- Out:  nothing; the one in force is the next statement's to read: this one may have waited for it, and not see it
-- Plan: Insert on fait_checkpoints, after a lock: no message is dropped before it can be seen
INSERT INTO {schema}.fait_checkpoints (subscription, app, position, log_id, epoch, definition_hash)
SELECT $1, $2, $3::bigint, $4, $5::bigint, $6
FROM pg_advisory_xact_lock_shared(hashtextextended('{schema}.fait_retention', 0))
ON CONFLICT (subscription) DO NOTHING;
