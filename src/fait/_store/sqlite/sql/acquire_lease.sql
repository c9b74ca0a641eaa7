-- acquire_lease: become the owner, if the lease is still as it was seen; who owns it already may have shown life since.
-- In:   ?1 name · ?2 new owner · ?3 seen owner · ?4 seen fence · ?5 seen beat
-- Out:  the new fence and beat; no row = somebody was quicker
INSERT INTO fait_leases (name, owner, fencing_token, heartbeat)
VALUES (?1, ?2, ?4 + 1, ?5 + 1)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fencing_token = excluded.fencing_token, heartbeat = heartbeat + 1
-- fault: lease-acquired-despite-heartbeat
-- fault: own-heartbeat-blocks-lease
WHERE owner = ?3 AND fencing_token = ?4 AND (heartbeat = ?5 OR owner = ?2)
RETURNING fencing_token, heartbeat;
