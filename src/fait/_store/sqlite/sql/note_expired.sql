-- note_expired: remember up to where messages were dropped.
-- In:   ?1 position
-- Out:  nothing
UPDATE fait_log SET expired = max(expired, ?1);
