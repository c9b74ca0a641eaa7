-- insert_action: record an action of an operator.
-- In:   $1 action · $2 subscription · $3 details · $4 user · $5 reason · $6 current time, or NULL for that of the server
-- Out:  nothing
-- Plan: Insert on fait_actions
INSERT INTO {schema}.fait_actions (action, subscription, details, requested_by, reason, recorded_at)
VALUES ($1, $2, $3, $4, $5, coalesce($6, clock_timestamp()));
