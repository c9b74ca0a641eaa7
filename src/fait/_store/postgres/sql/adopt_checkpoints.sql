-- adopt_checkpoints: carry checkpoints over to a new epoch. A checkpoint beyond the head keeps the old epoch, so its
-- subscription does not start.
-- In:   $1 log_id · $2 id of the old epoch · $3 id of the new epoch · $4 head
-- Out:  subscription, position and epoch_id of all checkpoints
WITH carried AS (
    UPDATE {schema}.fait_checkpoints SET epoch_id = $3
    WHERE log_id = $1 AND epoch_id = $2 AND position <= $4
    RETURNING subscription
)
SELECT c.subscription, c.position, CASE WHEN a.subscription IS NULL THEN c.epoch_id ELSE $3 END
FROM {schema}.fait_checkpoints AS c LEFT JOIN carried AS a USING (subscription)
ORDER BY c.subscription;
