-- split_range: split a range in two halves with the next fencing token.
-- In:   $1 subscription · $2 generation · $3 low · $4 worker · $5 fencing token · $6 lowest hash of the upper half · $7 high
-- Out:  one row; no row: the lease was lost, or there is no such half
-- Plan: Index Scan using fait_ranges_pkey, after one of fait_subscriptions_pkey: changes of a registration wait for the end
--       of this statement, or this statement for theirs, so that they change both halves
WITH registration AS MATERIALIZED (
    -- fault: split-does-not-lock-registration
    SELECT FROM {schema}.fait_subscriptions WHERE subscription = $1 AND generation = $2 FOR SHARE
), lower_half AS (
    UPDATE {schema}.fait_ranges AS r SET high = $6, fencing_token = r.fencing_token + 1
    FROM registration
    WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3 AND r.low < $6 AND $6 < r.high AND r.high = $7
        -- fault: stale-lease-splits-in-postgres
        AND r.worker = $4 AND r.fencing_token = $5
    RETURNING r.*
)
INSERT INTO {schema}.fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
-- fault: new-half-begins-at-token-1-in-postgres
SELECT subscription, generation, $6, $7, position, frontier, pending, health, worker, fencing_token
FROM lower_half
RETURNING low;
