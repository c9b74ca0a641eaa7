-- health_times: events that were recorded in the future.
-- In:   $1 check events after this position; 0: check all
-- Out:  the first five positions
-- Plan: index scans on the primary keys
SELECT position
FROM {schema}.fait_all_events
WHERE position > $1 AND recorded_at > clock_timestamp() + interval '1 minute'
ORDER BY position
LIMIT 5;
