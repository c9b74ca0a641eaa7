-- lock_registration: a registration, or all, locked until the end of the transaction.
-- In:   $1 subscription, or NULL for all
-- Out:  registrations; no row: it is not registered
-- Plan: Seq Scan on fait_subscriptions: one row for each subscription
SELECT subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, paused
FROM {schema}.fait_subscriptions
WHERE state = 'live' AND ($1::text IS NULL OR subscription = $1)
ORDER BY subscription, generation
FOR UPDATE;
