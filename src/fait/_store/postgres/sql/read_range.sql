-- read_range: a range of a registration that is not retired.
-- In:   $1 subscription · $2 generation · $3 low
-- Out:  key, position, worker, fencing token and heartbeat
-- Plan: Index Scan using fait_ranges_pkey, fait_subscriptions_pkey and fait_workers_pkey
SELECT r.subscription, r.generation, r.low, r.position, r.worker, r.fencing_token, w.heartbeat
FROM {schema}.fait_ranges AS r
JOIN {schema}.fait_subscriptions AS s USING (subscription, generation)
LEFT JOIN {schema}.fait_workers AS w ON w.worker = r.worker
WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3 AND s.state <> 'retired';
