-- heartbeat_leases: show that an owner lives.
-- In:   ?1 owner
-- Out:  names of its leases
UPDATE fait_leases SET heartbeat = heartbeat + 1 WHERE owner = ?1 RETURNING name;
