-- retire_registration: retire a registration. Its row stays, so that neither revisions nor fencing tokens are reused.
-- In:   ?1 subscription
-- Out:  nothing
UPDATE fait_subscriptions SET state = 'retired' WHERE subscription = ?1 AND state = 'live';
