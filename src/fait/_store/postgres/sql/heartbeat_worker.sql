-- heartbeat_worker: register a worker, or increase its heartbeat and replace what it has registered.
-- In:   $1 worker · $2 app · $3 host · $4 pid · $5 version · $6 runs · $7 calls · $8 backlogs
--       $9 current time, or NULL for that of the server
-- Out:  keys of its ranges
-- Plan: Insert on fait_workers, Seq Scan on fait_ranges
WITH registered AS (
    INSERT INTO {schema}.fait_workers AS w (worker, app, host, pid, version, runs, calls, backlogs, heartbeat, started_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, coalesce($9, clock_timestamp()))
    ON CONFLICT (worker) DO UPDATE SET
        heartbeat = w.heartbeat + 1, app = excluded.app, host = excluded.host, pid = excluded.pid,
        version = excluded.version, runs = excluded.runs, calls = excluded.calls,
        backlogs = excluded.backlogs
)
SELECT subscription, generation, low FROM {schema}.fait_ranges WHERE worker = $1;
