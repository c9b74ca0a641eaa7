-- release_lease: release a lease, unless it has been acquired again since.
-- In:   ?1 name · ?2 owner · ?3 fencing token
-- Out:  nothing
-- fault: release-without-fencing-token
UPDATE fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE name = ?1 AND owner = ?2 AND fencing_token = ?3;
