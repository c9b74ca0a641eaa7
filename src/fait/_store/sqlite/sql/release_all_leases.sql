-- release_all_leases: release all leases of an owner.
-- In:   ?1 owner
-- Out:  nothing
UPDATE fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE owner = ?1;
