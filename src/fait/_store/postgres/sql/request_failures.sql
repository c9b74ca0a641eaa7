-- request_failures: request a redrive or a discard of keys that lock_requestable_keys has locked.
-- In:   $1 subscription · $2 keys · $3 state · $4 user · $5 reason · $6 last position to discard
-- Out:  nothing
-- Plan: Update on fait_failures, Index Scan using fait_failures_pkey
UPDATE {schema}.fait_failures AS f SET state = $3, requested_by = $4, reason = $5, discard_until = $6
WHERE f.subscription = $1 AND f.key = ANY($2::text[])
    AND (f.state = 'parked' OR (f.state = 'retrying' OR f.state = 'redriving' AND f.requested_by = '') AND EXISTS (
        SELECT FROM {schema}.fait_subscriptions AS s
        WHERE s.subscription = f.subscription AND s.generation = f.generation AND s.state = 'live' AND s.paused
    ));
