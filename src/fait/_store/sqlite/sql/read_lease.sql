-- read_lease: read a lease.
-- In:   ?1 name
-- Out:  owner, fencing token, heartbeat; no row: it was never acquired
SELECT owner, fencing_token, heartbeat FROM fait_leases WHERE name = ?1;
