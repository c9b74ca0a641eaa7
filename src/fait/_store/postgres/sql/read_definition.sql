-- read_definition: the parts of the definition of a registration.
-- In:   $1 subscription
-- Out:  JSON text; no row: it is not registered
-- Plan: Index Scan using fait_subscriptions_pkey
SELECT definition FROM {schema}.fait_subscriptions WHERE subscription = $1 AND state = 'live';
