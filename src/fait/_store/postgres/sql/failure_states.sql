-- failure_states: the states of the failures of some keys, which are locked.
-- In:   $1 subscription · $2 generation · $3 keys
-- Out:  key and state of each failure
-- Plan: Index Scan using fait_failures_pkey
SELECT key, state FROM {schema}.fait_failures
WHERE subscription = $1 AND generation = $2 AND key = ANY($3::text[])
ORDER BY key
FOR UPDATE;
