-- read_lease: who may run a subscription.
-- In:   $1 name
-- Out:  owner, fence, beat; no row = nobody ever did
-- Plan: Index Scan using fait_leases_pkey
SELECT owner, fencing_token, heartbeat FROM {schema}.fait_leases WHERE name = $1;
