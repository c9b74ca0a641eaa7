-- heartbeat_leases: show that an owner lives.
-- In:   $1 owner
-- Out:  names of its leases
-- Plan: Seq Scan on fait_leases: a row for each subscription
UPDATE {schema}.fait_leases SET heartbeat = heartbeat + 1 WHERE owner = $1 RETURNING name;
