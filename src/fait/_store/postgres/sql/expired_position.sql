-- expired_position: up to where messages were dropped.
-- In:   nothing
-- Out:  position; 0 = none ever was
SELECT expired_position FROM {schema}.fait_log;
