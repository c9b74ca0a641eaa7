-- parked_keys: which of some keys are parked.
-- In:   ?1 subscription · ?2 keys, a JSON array
-- Out:  the keys
SELECT DISTINCT key FROM fait_failures
WHERE subscription = ?1 AND state = 'parked' AND key IN (SELECT value FROM json_each(?2));
