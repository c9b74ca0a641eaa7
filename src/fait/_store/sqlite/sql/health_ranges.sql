-- health_ranges: registrations whose ranges do not cover all keys exactly once, or that are retired and have a worker.
-- In:   nothing
-- Out:  up to five subscriptions
SELECT subscription
FROM fait_subscriptions LEFT JOIN fait_ranges USING (subscription, generation)
GROUP BY subscription, generation
HAVING ifnull(sum(high - low), 0) != 65536 OR min(low) != 0 OR (state = 'retired' AND max(worker) != '')
LIMIT 5;
