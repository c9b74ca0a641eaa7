-- request_failures: request a redrive or a discard of keys that requestable_keys has returned.
-- In:   ?1 subscription · ?2 keys, a JSON array · ?3 state · ?4 user · ?5 reason · ?6 last position to discard
-- Out:  nothing
UPDATE fait_failures AS f SET state = ?3, requested_by = ?4, reason = ?5, discard_until = ?6
WHERE f.subscription = ?1 AND f.key IN (SELECT value FROM json_each(?2))
    AND (f.state = 'parked' OR (f.state = 'retrying' OR f.state = 'redriving' AND f.requested_by = '') AND EXISTS (
        SELECT 1 FROM fait_subscriptions AS s
        WHERE s.subscription = f.subscription AND s.generation = f.generation AND s.state = 'live' AND s.paused = 1
    ));
