-- range_failures: the failures of a range.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 high
-- Out:  failures, by key
-- Plan: SEARCH fait_failures USING INDEX fait_failures_slot (subscription=? AND generation=? AND slot>? AND slot<?)
SELECT subscription, generation, key, slot, state, next_position, attempts, stream, event_id, event_type, first_failed_at,
    last_failed_at, error_type, error, location, traceback, requested_by, reason, discard_until
FROM fait_failures
WHERE subscription = ?1 AND generation = ?2 AND slot >= ?3 AND slot < ?4
ORDER BY key;
