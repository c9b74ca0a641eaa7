-- read_lease: the lease of a subscription.
-- In:   $1 name
-- Out:  owner, fencing_token, heartbeat; no row: it was never acquired
-- Plan: Index Scan using fait_leases_pkey
SELECT owner, fencing_token, heartbeat FROM {schema}.fait_leases WHERE name = $1;
