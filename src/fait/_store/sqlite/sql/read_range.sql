-- read_range: a range of a registration that is not retired.
-- In:   ?1 subscription · ?2 generation · ?3 low
-- Out:  the attributes of the range
SELECT r.subscription, r.generation, r.low, r.position, r.worker, r.fencing_token, w.heartbeat, r.high, r.frontier, r.health,
    f.next_position, ifnull(f.key, '')
FROM fait_ranges AS r
JOIN fait_subscriptions AS s USING (subscription, generation)
LEFT JOIN fait_workers AS w ON w.worker = r.worker
LEFT JOIN fait_failures AS f ON f.subscription = r.subscription AND f.generation = r.generation AND f.key = (
    SELECT key FROM fait_failures
    WHERE subscription = r.subscription AND generation = r.generation AND slot >= r.low AND slot < r.high
    ORDER BY next_position, key
    LIMIT 1
)
WHERE r.subscription = ?1 AND r.generation = ?2 AND r.low = ?3 AND s.state <> 'retired';
