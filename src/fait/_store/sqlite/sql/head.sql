-- head: the last position.
-- In:   nothing
-- Out:  position; 0 = empty log
-- Plan: SEARCH fait_events
SELECT coalesce(max(position), 0) FROM fait_events;
