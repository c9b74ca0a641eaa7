-- read_lease: who may run a subscription.
-- In:   ?1 name
-- Out:  owner, fence, beat; no row = nobody ever did
SELECT owner, fencing_token, heartbeat FROM fait_leases WHERE name = ?1;
