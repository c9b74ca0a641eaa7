-- lock_registration: a registration, locked until the end of the transaction.
-- In:   $1 subscription
-- Out:  the registration; no row: it is not registered
-- Plan: Index Scan using fait_subscriptions_pkey
SELECT subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision
FROM {schema}.fait_subscriptions
WHERE subscription = $1 AND state = 'live'
FOR UPDATE;
