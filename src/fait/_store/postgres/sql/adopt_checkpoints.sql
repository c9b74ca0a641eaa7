-- adopt_checkpoints: take checkpoints along into a new epoch; one beyond the log's end stays behind, and stops its subscription.
-- In:   $1 log_id · $2 the old epoch · $3 the new one · $4 position of the last event
-- Out:  subscription, position, epoch, for all
WITH taken AS (
    UPDATE {schema}.fait_checkpoints SET epoch = $3
    WHERE log_id = $1 AND epoch = $2 AND position <= $4
    RETURNING subscription
)
SELECT c.subscription, c.position, CASE WHEN t.subscription IS NULL THEN c.epoch ELSE $3 END
FROM {schema}.fait_checkpoints AS c LEFT JOIN taken AS t USING (subscription)
ORDER BY c.subscription;
