-- deregister_worker: free all ranges of a worker and remove it.
-- In:   $1 worker
-- Out:  nothing
-- Plan: Seq Scan on fait_ranges
WITH freed AS (
    UPDATE {schema}.fait_ranges SET worker = '', fencing_token = fencing_token + 1 WHERE worker = $1
)
DELETE FROM {schema}.fait_workers WHERE worker = $1;
