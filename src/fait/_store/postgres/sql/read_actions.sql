-- read_actions: the last actions of operators.
-- In:   $1 subscription, or NULL for all · $2 action, or NULL for all · $3 limit
-- Out:  time, action, subscription, details, user and reason of each, the last one first
-- Plan: Index Scan Backward using fait_actions_pkey
SELECT recorded_at, action, subscription, details, requested_by, reason
FROM {schema}.fait_actions
WHERE ($1::text IS NULL OR subscription = $1) AND ($2::text IS NULL OR action = $2)
ORDER BY id DESC
LIMIT $3;
