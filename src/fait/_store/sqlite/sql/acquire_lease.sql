-- acquire_lease: acquire a lease if it is as the caller has read it. The owner may re-acquire its lease even if its
-- heartbeat has advanced.
-- In:   ?1 name · ?2 new owner · ?3 owner as read · ?4 fencing token as read · ?5 heartbeat as read
-- Out:  the new fencing token and heartbeat; no row: another process was faster
INSERT INTO fait_leases (name, owner, fencing_token, heartbeat)
VALUES (?1, ?2, ?4 + 1, ?5 + 1)
ON CONFLICT (name) DO UPDATE
    SET owner = excluded.owner, fencing_token = excluded.fencing_token, heartbeat = heartbeat + 1
-- fault: lease-acquired-despite-heartbeat
-- fault: own-heartbeat-blocks-lease
WHERE owner = ?3 AND fencing_token = ?4 AND (heartbeat = ?5 OR owner = ?2)
RETURNING fencing_token, heartbeat;
