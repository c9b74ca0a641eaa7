-- adopt_log: start a new epoch of the log in the cluster and on the timeline where it is now.
-- In:   $1 position of the last visible event · $2 system_identifier · $3 timeline
-- Out:  epoch_id
WITH epoch AS (
    INSERT INTO {schema}.fait_epochs (number, epoch_id, after_position)
    SELECT max(number) + 1, gen_random_uuid()::text, $1 FROM {schema}.fait_epochs
    RETURNING epoch_id
)
UPDATE {schema}.fait_log SET epoch_id = epoch.epoch_id, system_identifier = $2, timeline = $3
FROM epoch
RETURNING fait_log.epoch_id;
