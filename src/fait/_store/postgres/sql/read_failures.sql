-- read_failures: the failures of a subscription, or of all.
-- In:   $1 subscription, or NULL for all
-- Out:  failures, by subscription and key
-- Plan: Index Scan using fait_failures_pkey
SELECT subscription, generation, key, slot, state, next_position, attempts, stream, event_id, event_type, first_failed_at,
    last_failed_at, error_type, error, location, traceback, requested_by, reason, discard_until
FROM {schema}.fait_failures
WHERE $1::text IS NULL OR subscription = $1
ORDER BY subscription, generation, key;
