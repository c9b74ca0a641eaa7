-- list_workers: all workers.
-- In:   nothing
-- Out:  id, app, host, pid, version, runs, calls, backlogs, heartbeat and time of registration of each, by id
-- Plan: Seq Scan on fait_workers
SELECT worker, app, host, pid, version, runs, calls, backlogs, heartbeat, started_at FROM {schema}.fait_workers ORDER BY worker;
