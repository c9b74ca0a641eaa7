-- health_ranges: registrations whose ranges do not cover all keys exactly once, or that are retired and have a worker.
-- In:   nothing
-- Out:  the first few subscriptions
SELECT subscription
FROM {schema}.fait_subscriptions AS s LEFT JOIN {schema}.fait_ranges AS r USING (subscription, generation)
GROUP BY subscription, generation, s.state
HAVING coalesce(sum(r.high - r.low), 0) <> 65536 OR min(r.low) <> 0 OR (s.state = 'retired' AND max(r.worker) <> '')
ORDER BY subscription
LIMIT 5;
