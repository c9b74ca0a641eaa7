-- heartbeat_worker: register a worker, or increase its heartbeat.
-- In:   $1 worker
-- Out:  keys of its ranges
-- Plan: Insert on fait_workers, Seq Scan on fait_ranges
WITH registered AS (
    INSERT INTO {schema}.fait_workers AS w (worker, heartbeat) VALUES ($1, 1)
    ON CONFLICT (worker) DO UPDATE SET heartbeat = w.heartbeat + 1
)
SELECT subscription, generation, low FROM {schema}.fait_ranges WHERE worker = $1;
