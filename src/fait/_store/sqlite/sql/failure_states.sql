-- failure_states: the states of the failures of some keys.
-- In:   ?1 subscription · ?2 generation · ?3 keys, a JSON array
-- Out:  key and state of each failure
SELECT key, state FROM fait_failures
WHERE subscription = ?1 AND generation = ?2 AND key IN (SELECT value FROM json_each(?3));
