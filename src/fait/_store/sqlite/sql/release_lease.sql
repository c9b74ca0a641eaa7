-- release_lease: an owner makes way; nothing happens if the lease is somebody else's by now.
-- In:   ?1 name · ?2 owner · ?3 fence
-- Out:  nothing
-- fault: release-without-fencing-token
UPDATE fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE name = ?1 AND owner = ?2 AND fencing_token = ?3;
