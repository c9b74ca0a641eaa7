-- adopt_log: start a new epoch of the log in the cluster and on the timeline where it is now.
-- In:   $1 system_identifier · $2 timeline
-- Out:  log_id, epoch
UPDATE {schema}.fait_log SET epoch = epoch + 1, system_identifier = $1, timeline = $2 RETURNING log_id, epoch;
