-- read_range: a range of a registration that is not retired.
-- In:   $1 subscription · $2 generation · $3 low
-- Out:  the attributes of the range
-- Plan: Index Scan using fait_ranges_pkey, fait_subscriptions_pkey, fait_workers_pkey and fait_failures_slot
SELECT r.subscription, r.generation, r.low, r.position, r.worker, r.fencing_token, w.heartbeat, r.high, r.frontier, r.health,
    f.next_position, coalesce(f.key, '')
FROM {schema}.fait_ranges AS r
JOIN {schema}.fait_subscriptions AS s USING (subscription, generation)
LEFT JOIN {schema}.fait_workers AS w ON w.worker = r.worker
LEFT JOIN LATERAL (
    SELECT next_position, key FROM {schema}.fait_failures
    WHERE subscription = r.subscription AND generation = r.generation AND slot >= r.low AND slot < r.high
    ORDER BY next_position, key
    LIMIT 1
) AS f ON true
WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3 AND s.state <> 'retired';
