-- expire_worker: remove a worker whose heartbeat stood still.
-- In:   $1 worker · $2 its heartbeat
-- Out:  nothing
-- Plan: Index Scan using fait_workers_pkey
DELETE FROM {schema}.fait_workers WHERE worker = $1 AND heartbeat = $2;
