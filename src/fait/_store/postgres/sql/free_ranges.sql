-- free_ranges: free the ranges of a subscription, whose registration the transaction has changed. A statement of its own:
-- its snapshot contains both halves of a range that was split before.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Index Scan using fait_ranges_pkey; the rows are locked in order
WITH locked AS MATERIALIZED (
    SELECT generation, low FROM {schema}.fait_ranges WHERE subscription = $1 ORDER BY generation, low FOR UPDATE
)
UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
FROM locked AS l WHERE r.subscription = $1 AND (r.generation, r.low) = (l.generation, l.low);
