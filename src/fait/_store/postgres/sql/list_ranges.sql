-- list_ranges: all ranges except those of kind system.
-- In:   $1 subscription, or NULL for all
-- Out:  the attributes of each range, by key
-- Plan: Seq Scan on each table, Index Scan using fait_failures_slot
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
WHERE s.state <> 'retired' AND s.kind <> 'system' AND ($1::text IS NULL OR r.subscription = $1)
ORDER BY r.subscription, r.generation, r.low;
