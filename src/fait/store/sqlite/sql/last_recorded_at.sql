-- last_recorded_at: when the log last learned something, so that its time never goes back.
-- In:   nothing
-- Out:  recorded_at of the last event; no row = empty log
-- Plan: SCAN fait_events
SELECT recorded_at FROM fait_events ORDER BY position DESC LIMIT 1;
