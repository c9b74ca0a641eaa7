-- lease: who may run a subscription.
-- In:   $1 name
-- Out:  owner, fence, beat; no row = nobody ever did
-- Plan: Index Scan using fait_leases_pkey
SELECT owner, fence, beat FROM {schema}.fait_leases WHERE name = $1;
