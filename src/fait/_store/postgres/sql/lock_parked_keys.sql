-- lock_parked_keys: which of some keys are parked. They are locked in order, so that requests do not deadlock.
-- In:   $1 subscription · $2 keys
-- Out:  keys
-- Plan: Index Scan using fait_failures_pkey
SELECT key FROM {schema}.fait_failures
WHERE subscription = $1 AND state = 'parked' AND key = ANY($2::text[])
ORDER BY generation, key
FOR UPDATE;
