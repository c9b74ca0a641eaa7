-- merge_ranges: extend a range over its upper neighbor, under a fencing token that neither has had.
-- In:   $1 subscription · $2 generation · $3 low · $4 worker · $5 fencing token · $6 low and $7 fencing token of the upper one
-- Out:  one row; no row: a lease was lost, or they cannot be merged
-- Plan: Index Scan using fait_ranges_pkey. The registration is locked as in split_range, the ranges in order
WITH registration AS MATERIALIZED (
    SELECT FROM {schema}.fait_subscriptions WHERE subscription = $1 AND generation = $2 FOR SHARE
), parts AS MATERIALIZED (
    SELECT r.low, r.high, r.frontier, r.fencing_token
    FROM {schema}.fait_ranges AS r, registration
    WHERE r.subscription = $1 AND r.generation = $2 AND r.worker = $4
        -- fault: stale-lease-merges-in-postgres
        AND (r.low = $3 AND r.fencing_token = $5 OR r.low = $6 AND r.fencing_token = $7)
        -- fault: pending-positions-merged-in-postgres
        AND r.position = r.frontier -- nothing is pending
    ORDER BY r.low
    FOR UPDATE OF r
), neighbors AS MATERIALIZED (
    SELECT upper.low AS upper_low, upper.high,
        -- fault: token-of-upper-range-reused-in-postgres
        greatest(lower.fencing_token, upper.fencing_token) + 1 AS fencing_token
    FROM parts AS lower JOIN parts AS upper ON upper.low = lower.high AND upper.frontier = lower.frontier
    WHERE lower.low = $3 AND upper.low = $6
), deleted AS (
    DELETE FROM {schema}.fait_ranges AS r USING neighbors AS n
    WHERE r.subscription = $1 AND r.generation = $2 AND r.low = n.upper_low
)
UPDATE {schema}.fait_ranges AS r SET high = n.high, fencing_token = n.fencing_token
FROM neighbors AS n
WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3
RETURNING r.low;
