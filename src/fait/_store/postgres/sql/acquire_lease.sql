-- acquire_lease: acquire a lease if it is as the caller has read it. The owner may re-acquire its lease even if its
-- heartbeat has advanced.
-- In:   $1 name · $2 new owner · $3 owner, $4 fencing_token and $5 heartbeat as read
-- Out:  the new fencing_token and heartbeat; no row: another process was faster
-- Plan: Insert on fait_leases
INSERT INTO {schema}.fait_leases AS l (name, owner, fencing_token, heartbeat)
VALUES ($1, $2, $4::bigint + 1, $5::bigint + 1)
ON CONFLICT (name) DO UPDATE SET
    owner = excluded.owner, fencing_token = excluded.fencing_token, heartbeat = l.heartbeat + 1
WHERE l.owner = $3 AND l.fencing_token = $4 AND (l.heartbeat = $5 OR l.owner = $2)
RETURNING fencing_token, heartbeat;
