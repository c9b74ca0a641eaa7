-- read_definition: the parts of the definition of a registration.
-- In:   ?1 subscription
-- Out:  JSON text; no row: it is not registered
SELECT definition FROM fait_subscriptions WHERE subscription = ?1 AND state = 'live';
