-- widen_registration: replace the event types of a registration. Its ranges keep their workers.
-- In:   $1 subscription · $2 handled_types
-- Out:  nothing
-- Plan: Index Scan using fait_subscriptions_pkey
UPDATE {schema}.fait_subscriptions SET handled_types = $2, revision = revision + 1
WHERE subscription = $1 AND state = 'live';
