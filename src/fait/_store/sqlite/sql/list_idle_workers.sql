-- list_idle_workers: the workers that own no range.
-- In:   nothing
-- Out:  id and heartbeat of each
SELECT w.worker, w.heartbeat
FROM fait_workers AS w
WHERE NOT EXISTS (SELECT 1 FROM fait_ranges AS r WHERE r.worker = w.worker);
