-- forget_failures: delete the failures of a subscription.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Delete on fait_failures, Index Scan using fait_failures_pkey
DELETE FROM {schema}.fait_failures WHERE subscription = $1;
