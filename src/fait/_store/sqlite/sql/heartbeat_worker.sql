-- heartbeat_worker: register a worker, or increase its heartbeat.
-- In:   ?1 worker
-- Out:  nothing
INSERT INTO fait_workers (worker, heartbeat) VALUES (?1, 1)
ON CONFLICT (worker) DO UPDATE SET heartbeat = heartbeat + 1;
