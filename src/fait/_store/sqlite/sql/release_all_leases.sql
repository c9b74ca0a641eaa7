-- release_all_leases: an owner stops.
-- In:   ?1 owner
-- Out:  nothing
UPDATE fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE owner = ?1;
