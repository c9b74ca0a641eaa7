-- deregister_worker: free all ranges of a worker and remove it.
-- In:   $1 worker
-- Out:  nothing
-- Plan: Seq Scan on fait_ranges, which are locked in the order of all changes of several ranges
WITH owned AS MATERIALIZED (
    SELECT subscription, generation, low FROM {schema}.fait_ranges
    WHERE worker = $1
    ORDER BY subscription, generation, low
    FOR UPDATE
), freed AS (
    UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
    FROM owned AS o WHERE (r.subscription, r.generation, r.low) = (o.subscription, o.generation, o.low)
)
DELETE FROM {schema}.fait_workers WHERE worker = $1;
