-- list_ranges: all ranges except those of kind system.
-- In:   nothing
-- Out:  key, position, worker, fencing token and heartbeat of each, by key
SELECT r.subscription, r.generation, r.low, r.position, r.worker, r.fencing_token, w.heartbeat
FROM fait_ranges AS r
JOIN fait_subscriptions AS s USING (subscription, generation)
LEFT JOIN fait_workers AS w ON w.worker = r.worker
WHERE s.state <> 'retired' AND s.kind != 'system'
ORDER BY r.subscription, r.generation, r.low;
