-- adopt_checkpoints: carry checkpoints over to a new epoch. A checkpoint beyond the head keeps the old epoch, so its
-- subscription does not start.
-- In:   $1 log_id · $2 the old epoch · $3 the new epoch · $4 head
-- Out:  subscription, position and epoch of all checkpoints
WITH carried AS (
    UPDATE {schema}.fait_checkpoints SET epoch = $3
    WHERE log_id = $1 AND epoch = $2 AND position <= $4
    RETURNING subscription
)
SELECT c.subscription, c.position, CASE WHEN a.subscription IS NULL THEN c.epoch ELSE $3 END
FROM {schema}.fait_checkpoints AS c LEFT JOIN carried AS a USING (subscription)
ORDER BY c.subscription;
