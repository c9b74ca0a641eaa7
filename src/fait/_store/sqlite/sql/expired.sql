-- expired: up to where messages were dropped.
-- In:   nothing
-- Out:  position; 0 = none ever was
SELECT expired FROM fait_log;
