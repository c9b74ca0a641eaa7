-- free_lease: release the lease of a removed subscription. The row stays, so that its fencing tokens are not reused.
-- In:   ?1 subscription
-- Out:  nothing
UPDATE fait_leases SET owner = '', fencing_token = fencing_token + 1, heartbeat = heartbeat + 1 WHERE name = ?1;
