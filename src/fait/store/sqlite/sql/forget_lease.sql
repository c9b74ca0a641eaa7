-- forget_lease: a subscription is gone.
-- In:   ?1 subscription
-- Out:  nothing
DELETE FROM fait_leases WHERE name = ?1;
