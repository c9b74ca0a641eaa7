-- read_actions: the last actions of operators.
-- In:   $1 limit
-- Out:  time, action, subscription, details, user and reason of each, the last one first
-- Plan: Index Scan Backward using fait_actions_pkey
SELECT recorded_at, action, subscription, details, requested_by, reason
FROM {schema}.fait_actions
ORDER BY id DESC
LIMIT $1;
