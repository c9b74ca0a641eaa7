-- release_all_leases: release all leases of an owner.
-- In:   $1 owner
-- Out:  nothing
-- Plan: Seq Scan on fait_leases: one row for each subscription
UPDATE {schema}.fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE owner = $1;
