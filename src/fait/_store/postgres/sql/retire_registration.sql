-- retire_registration: retire a registration. Its row stays, so that neither revisions nor fencing tokens are reused.
-- In:   $1 subscription
-- Out:  one row; no row: there is no such registration
-- Plan: Index Scan using fait_subscriptions_pkey
UPDATE {schema}.fait_subscriptions SET state = 'retired' WHERE subscription = $1 AND state = 'live'
RETURNING revision;
