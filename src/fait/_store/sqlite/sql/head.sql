-- head: the position of the last event.
-- In:   nothing
-- Out:  position; 0: the log is empty
-- Plan: SEARCH fait_events
SELECT coalesce(max(position), 0) FROM fait_events;
