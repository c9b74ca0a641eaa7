-- read_actions: the last actions of operators.
-- In:   ?1 subscription, or NULL for all · ?2 action, or NULL for all · ?3 limit
-- Out:  time, action, subscription, details, user and reason of each, the last one first
SELECT recorded_at, action, subscription, details, requested_by, reason
FROM fait_actions
WHERE (?1 IS NULL OR subscription = ?1) AND (?2 IS NULL OR action = ?2)
ORDER BY id DESC
LIMIT ?3;
