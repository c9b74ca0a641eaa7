-- move_together: move several ranges, each if its fencing token and revision are still current.
-- In:   $1 JSON array of objects with the names of `m`, one for each range
-- Out:  keys of the ranges that were moved; the others are fenced
-- Plan: Index Scan using fait_ranges_pkey, after one of fait_subscriptions_pkey. The ranges are locked in the order of all
--       changes of several ranges
WITH moves AS MATERIALIZED (
    SELECT r.subscription, r.generation, r.low, m.position, m.frontier, m.pending
    FROM json_to_recordset($1::json) AS m (
        subscription text, generation integer, low integer, fencing_token bigint, revision bigint, position bigint,
        frontier bigint, pending text
    )
    JOIN {schema}.fait_ranges AS r
        -- fault: stale-fencing-token-accepted-in-a-group
        ON r.fencing_token = m.fencing_token AND
            r.subscription = m.subscription AND r.generation = m.generation AND r.low = m.low
    JOIN {schema}.fait_subscriptions AS s
        ON s.subscription = m.subscription AND s.generation = m.generation AND s.state <> 'retired'
            AND s.revision = m.revision
    ORDER BY r.subscription, r.generation, r.low
    FOR UPDATE OF r
)
UPDATE {schema}.fait_ranges AS r SET position = m.position, frontier = m.frontier, pending = m.pending::bigint[], health = ''
FROM moves AS m
WHERE r.subscription = m.subscription AND r.generation = m.generation AND r.low = m.low
RETURNING r.subscription, r.generation, r.low;
