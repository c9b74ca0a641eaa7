-- health_ranges: registrations whose ranges do not cover all keys exactly once, or that are retired and have a worker.
-- In:   nothing
-- Out:  up to five subscriptions
SELECT subscription
FROM fait_subscriptions LEFT JOIN (
    SELECT *, lag(high, 1, 0) OVER (PARTITION BY subscription, generation ORDER BY low) AS previous_high FROM fait_ranges
) USING (subscription, generation)
GROUP BY subscription, generation
HAVING ifnull(max(high), 0) != 65536 OR max(low != previous_high) OR (state = 'retired' AND max(worker) != '')
LIMIT 5;
