-- adopt_log: begin a new epoch where the log is now.
-- In:   $1 system_identifier · $2 timeline
-- Out:  log_id, epoch
UPDATE {schema}.fait_log SET epoch = epoch + 1, system_identifier = $1, timeline = $2 RETURNING log_id, epoch;
