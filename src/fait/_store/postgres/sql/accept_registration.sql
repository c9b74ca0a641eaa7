-- accept_registration: replace the definition of a registration, and free its ranges.
-- In:   $1 subscription · $2 definition_hash · $3 handled_types
-- Out:  nothing
-- Plan: Update on fait_ranges, after one on fait_subscriptions
WITH accepted AS (
    UPDATE {schema}.fait_subscriptions SET definition_hash = $2, handled_types = $3, revision = revision + 1
    WHERE subscription = $1 AND state = 'live'
    RETURNING subscription
)
UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
FROM accepted AS a WHERE r.subscription = a.subscription;
