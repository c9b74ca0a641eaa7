-- acquire_lease: become the owner, if the lease is still as it was seen; who owns it already may have shown life since.
-- In:   $1 name · $2 new owner · $3 seen owner · $4 seen fence · $5 seen beat
-- Out:  the new fence and beat; no row = somebody was quicker
-- Plan: Insert on fait_leases
INSERT INTO {schema}.fait_leases AS l (name, owner, fencing_token, heartbeat)
VALUES ($1, $2, $4::bigint + 1, $5::bigint + 1)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fencing_token = excluded.fencing_token, heartbeat = l.heartbeat + 1
WHERE l.owner = $3 AND l.fencing_token = $4 AND (l.heartbeat = $5 OR l.owner = $2)
RETURNING fencing_token, heartbeat;
