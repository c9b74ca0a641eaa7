-- requested_failures: the failures for which an operator has requested a redrive or a discard.
-- In:   nothing
-- Out:  failures, by subscription and key
-- Plan: Index Scan using fait_failures_requested
SELECT subscription, generation, key, slot, state, next_position, attempts, stream, event_id, event_type, first_failed_at,
    last_failed_at, error_type, error, location, traceback, requested_by, reason, discard_until
FROM {schema}.fait_failures
WHERE state IN ('redriving', 'discarding')
ORDER BY subscription, generation, key;
