-- acquire_range: acquire a range that is free, if it is as the caller has read it.
-- In:   $1 subscription · $2 generation · $3 low · $4 worker · $5 fencing token as read
--       $6 definition_hash and $7 epoch_id of the worker
-- Out:  row of the lease, revision, handled types, and failures of the range as JSON; no row: the worker must not have it
-- Plan: Index Scan using fait_ranges_pkey. The failures are read after the update, which may wait for a record
WITH acquired AS (
    UPDATE {schema}.fait_ranges AS r SET worker = $4, fencing_token = r.fencing_token + 1
    FROM {schema}.fait_subscriptions AS s
    WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3 AND r.fencing_token = $5
        AND (r.worker IN ('', $4) OR NOT EXISTS (SELECT FROM {schema}.fait_workers AS w WHERE w.worker = r.worker))
        AND EXISTS (SELECT FROM {schema}.fait_workers AS w WHERE w.worker = $4)
        AND s.subscription = r.subscription AND s.generation = r.generation AND s.state <> 'retired'
        AND s.definition_hash = $6 AND s.epoch_id = $7
        -- fault: paused-subscription-acquired-in-postgres
        AND NOT s.paused
    RETURNING r.low, r.high, r.fencing_token, r.position, r.frontier, r.pending, s.revision, s.handled_types
)
SELECT low, high, fencing_token, position, frontier, array_to_json(pending)::text, revision, handled_types,
    {schema}.fait_range_failures_1($1, $2, low, high)
FROM acquired;
