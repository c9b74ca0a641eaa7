-- lock_requestable_keys: which of some keys are parked, or are retried by a subscription that is paused. They are locked in
-- order, so that requests do not deadlock.
-- In:   $1 subscription · $2 keys
-- Out:  keys
-- Plan: Index Scan using fait_failures_pkey
SELECT f.key FROM {schema}.fait_failures AS f
WHERE f.subscription = $1 AND f.key = ANY($2::text[])
    AND (f.state = 'parked' OR (f.state = 'retrying' OR f.state = 'redriving' AND f.requested_by = '') AND EXISTS (
        SELECT FROM {schema}.fait_subscriptions AS s
        -- fault: retried-key-requested-in-postgres
        WHERE s.subscription = f.subscription AND s.generation = f.generation AND s.state = 'live' AND s.paused
    ))
ORDER BY f.generation, f.key
FOR UPDATE OF f;
