-- requestable_keys: which of some keys are parked, or are retried by a subscription that is paused.
-- In:   ?1 subscription · ?2 keys, a JSON array
-- Out:  the keys
SELECT DISTINCT f.key FROM fait_failures AS f
WHERE f.subscription = ?1 AND f.key IN (SELECT value FROM json_each(?2))
    AND (f.state = 'parked' OR (f.state = 'retrying' OR f.state = 'redriving' AND f.requested_by = '') AND EXISTS (
        SELECT 1 FROM fait_subscriptions AS s
        -- fault: retried-key-requested
        WHERE s.subscription = f.subscription AND s.generation = f.generation AND s.state = 'live' AND s.paused = 1
    ));
