-- repair_sequence: raise the sequence to the last event, if it is below. Requires lock_log; not undone by a rollback.
-- In:   $1 position of the last event
-- Out:  the last value; no row: nothing was to be done
SELECT setval('{schema}.fait_position', $1)
WHERE coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) < $1;
