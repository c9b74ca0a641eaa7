-- heartbeat_worker: register a worker, or increase its heartbeat and replace what it has registered.
-- In:   $1 worker · $2 app · $3 host · $4 pid · $5 version · $6 runs · $7 current time, or NULL for that of the server
-- Out:  keys of its ranges
-- Plan: Insert on fait_workers, Seq Scan on fait_ranges
WITH registered AS (
    INSERT INTO {schema}.fait_workers AS w (worker, app, host, pid, version, runs, heartbeat, started_at)
    VALUES ($1, $2, $3, $4, $5, $6, 1, coalesce($7, clock_timestamp()))
    ON CONFLICT (worker) DO UPDATE SET
        heartbeat = w.heartbeat + 1, app = excluded.app, host = excluded.host, pid = excluded.pid,
        version = excluded.version, runs = excluded.runs
)
SELECT subscription, generation, low FROM {schema}.fait_ranges WHERE worker = $1;
