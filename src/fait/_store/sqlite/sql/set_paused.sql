-- set_paused: pause a subscription, or end its pause.
-- In:   ?1 subscription · ?2 whether it is paused afterwards
-- Out:  one row; no row: it is not registered, or nothing changes
UPDATE fait_subscriptions SET paused = ?2 WHERE subscription = ?1 AND state = 'live' AND paused <> ?2
RETURNING revision;
