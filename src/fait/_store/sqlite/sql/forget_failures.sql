-- forget_failures: delete the failures of a subscription.
-- In:   ?1 subscription
-- Out:  nothing
DELETE FROM fait_failures WHERE subscription = ?1;
