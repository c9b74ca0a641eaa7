-- read_failures: the failures of a subscription, or of all.
-- In:   ?1 subscription, or NULL for all
-- Out:  failures, by subscription and key
SELECT subscription, generation, key, slot, state, next_position, attempts, stream, event_id, event_type, first_failed_at,
    last_failed_at, error_type, error, location, traceback, requested_by, reason, discard_until
FROM fait_failures
WHERE ?1 IS NULL OR subscription = ?1
ORDER BY subscription, generation, key;
