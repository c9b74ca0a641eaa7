-- heartbeat_leases: increment the heartbeat of all leases of an owner.
-- In:   ?1 owner
-- Out:  names of the leases
UPDATE fait_leases SET heartbeat = heartbeat + 1 WHERE owner = ?1 RETURNING name;
