-- read_registrations: one registration, or all except those of kind system.
-- In:   ?1 one subscription, or NULL for all
-- Out:  registrations, by subscription
SELECT subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, paused
FROM fait_subscriptions
WHERE state = 'live' AND CASE WHEN ?1 IS NULL THEN kind != 'system' ELSE subscription = ?1 END
ORDER BY subscription, generation;
