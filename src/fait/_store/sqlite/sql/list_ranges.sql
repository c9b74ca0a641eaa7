-- list_ranges: all ranges except those of kind system.
-- In:   ?1 subscription, or NULL for all
-- Out:  the attributes of each range, by key
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
WHERE s.state <> 'retired' AND s.kind != 'system' AND (?1 IS NULL OR r.subscription = ?1)
ORDER BY r.subscription, r.generation, r.low;
