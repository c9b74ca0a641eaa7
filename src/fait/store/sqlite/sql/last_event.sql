-- last_event: where the log ends, in place and in time.
-- In:   nothing
-- Out:  position and recorded_at of the last event; no row = empty log
-- Plan: SCAN fait_events
SELECT position, recorded_at FROM fait_events ORDER BY position DESC LIMIT 1;
