-- health_ranges: registrations whose ranges do not cover all keys exactly once, or that are retired and have a worker.
-- In:   nothing
-- Out:  the first few subscriptions
SELECT subscription
FROM {schema}.fait_subscriptions AS s LEFT JOIN (
    SELECT *, lag(high, 1, 0) OVER (PARTITION BY subscription, generation ORDER BY low) AS previous_high
    FROM {schema}.fait_ranges
) AS r USING (subscription, generation)
GROUP BY subscription, generation, s.state
HAVING coalesce(max(r.high), 0) <> 65536 OR bool_or(r.low <> r.previous_high) OR (s.state = 'retired' AND max(r.worker) <> '')
ORDER BY subscription
LIMIT 5;
