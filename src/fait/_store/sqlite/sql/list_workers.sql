-- list_workers: all workers.
-- In:   nothing
-- Out:  id, app, host, pid, version, runs, calls, heartbeat and time of registration of each, by id
SELECT worker, app, host, pid, version, runs, calls, heartbeat, started_at FROM fait_workers ORDER BY worker;
