-- acquire_range: acquire a range that is free, if it is as the caller has read it.
-- In:   $1 subscription · $2 generation · $3 low · $4 worker · $5 fencing token as read
--       $6 definition_hash and $7 epoch_id of the worker
-- Out:  fencing token, position, revision and handled types; no row: the worker must not have it
-- Plan: Index Scan using fait_ranges_pkey
UPDATE {schema}.fait_ranges AS r SET worker = $4, fencing_token = r.fencing_token + 1
FROM {schema}.fait_subscriptions AS s
WHERE r.subscription = $1 AND r.generation = $2 AND r.low = $3 AND r.fencing_token = $5
    AND (r.worker IN ('', $4) OR NOT EXISTS (SELECT FROM {schema}.fait_workers AS w WHERE w.worker = r.worker))
    AND EXISTS (SELECT FROM {schema}.fait_workers AS w WHERE w.worker = $4)
    AND s.subscription = r.subscription AND s.generation = r.generation AND s.state <> 'retired'
    AND s.definition_hash = $6 AND s.epoch_id = $7
RETURNING r.fencing_token, r.position, s.revision, s.handled_types;
