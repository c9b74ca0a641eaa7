-- release_all_leases: an owner stops.
-- In:   $1 owner
-- Out:  nothing
-- Plan: Seq Scan on fait_leases: a row for each subscription
UPDATE {schema}.fait_leases SET owner = '', heartbeat = heartbeat + 1 WHERE owner = $1;
