-- acquire_range: acquire a range that is free, if it is as the caller has read it.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 worker · ?5 fencing token as read
--       ?6 definition_hash and ?7 epoch_id of the worker
-- Out:  row of the lease, revision and handled types; no row: the worker must not have it
UPDATE fait_ranges AS r SET worker = ?4, fencing_token = r.fencing_token + 1
FROM fait_subscriptions AS s
WHERE r.subscription = ?1 AND r.generation = ?2 AND r.low = ?3
    -- fault: range-acquired-despite-change
    AND r.fencing_token = ?5
    -- fault: range-of-live-worker-acquired
    AND (r.worker IN ('', ?4) OR NOT EXISTS (SELECT 1 FROM fait_workers AS w WHERE w.worker = r.worker))
    -- fault: unregistered-worker-acquires
    AND EXISTS (SELECT 1 FROM fait_workers AS w WHERE w.worker = ?4)
    AND s.subscription = r.subscription AND s.generation = r.generation AND s.state <> 'retired'
    -- fault: other-definition-acquires
    AND s.definition_hash = ?6 AND s.epoch_id = ?7
    -- fault: paused-subscription-acquired
    AND s.paused = 0
RETURNING low, high, fencing_token, position, frontier, pending,
    (SELECT revision FROM fait_subscriptions WHERE subscription = ?1 AND generation = ?2),
    (SELECT handled_types FROM fait_subscriptions WHERE subscription = ?1 AND generation = ?2);
