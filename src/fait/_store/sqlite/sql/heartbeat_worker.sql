-- heartbeat_worker: register a worker, or increase its heartbeat and replace what it has registered.
-- In:   ?1 worker · ?2 app · ?3 host · ?4 pid · ?5 version · ?6 runs · ?7 calls · ?8 backlogs · ?9 current time
-- Out:  nothing
INSERT INTO fait_workers (worker, app, host, pid, version, runs, calls, backlogs, heartbeat, started_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9)
ON CONFLICT (worker) DO UPDATE SET
    heartbeat = heartbeat + 1, app = excluded.app, host = excluded.host, pid = excluded.pid, version = excluded.version,
    runs = excluded.runs, calls = excluded.calls, backlogs = excluded.backlogs;
