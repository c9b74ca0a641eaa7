-- set_expired_position: remember up to where messages were dropped.
-- In:   ?1 position
-- Out:  nothing
UPDATE fait_log SET expired_position = max(expired_position, ?1);
