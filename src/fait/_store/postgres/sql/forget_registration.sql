-- forget_registration: retire a registration and free its ranges. Neither revisions nor fencing tokens are reused.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Update on fait_ranges, after one on fait_subscriptions
WITH retired AS (
    UPDATE {schema}.fait_subscriptions SET state = 'retired' WHERE subscription = $1 AND state = 'live'
    RETURNING subscription
)
UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
FROM retired WHERE r.subscription = retired.subscription;
