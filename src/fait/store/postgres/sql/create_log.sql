-- create_log: give a new log its identity, unless it has one.
-- In:   $1 log_id · $2 system_identifier · $3 timeline
-- Out:  nothing
INSERT INTO {schema}.fait_log (log_id, epoch, system_identifier, timeline) VALUES ($1, 1, $2, $3)
ON CONFLICT DO NOTHING;
