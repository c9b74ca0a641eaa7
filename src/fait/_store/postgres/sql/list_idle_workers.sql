-- list_idle_workers: the workers that own no range.
-- In:   nothing
-- Out:  id and heartbeat of each
-- Plan: Seq Scan on each table
SELECT w.worker, w.heartbeat
FROM {schema}.fait_workers AS w
WHERE NOT EXISTS (SELECT FROM {schema}.fait_ranges AS r WHERE r.worker = w.worker);
