-- release_leases: an owner stops.
-- In:   $1 owner
-- Out:  nothing
-- Plan: Seq Scan on fait_leases: a row for each subscription
UPDATE {schema}.fait_leases SET owner = '', beat = beat + 1 WHERE owner = $1;
