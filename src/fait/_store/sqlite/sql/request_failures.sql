-- request_failures: request a redrive or a discard of keys that requestable_keys has returned.
-- In:   ?1 subscription · ?2 keys, a JSON array · ?3 state · ?4 user · ?5 reason · ?6 last position to discard
-- Out:  nothing
UPDATE fait_failures SET state = ?3, requested_by = ?4, reason = ?5, discard_until = ?6
WHERE subscription = ?1 AND state IN ('parked', 'retrying') AND key IN (SELECT value FROM json_each(?2));
