-- delete_worker: remove a worker.
-- In:   ?1 worker · ?2 its heartbeat, or NULL for any
-- Out:  nothing
-- fault: live-worker-expired
DELETE FROM fait_workers WHERE worker = ?1 AND (?2 IS NULL OR heartbeat = ?2);
