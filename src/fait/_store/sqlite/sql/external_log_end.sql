-- external_log_end: where the log ends, for an append in a transaction of a user.
-- In:   nothing
-- Out:  position and recorded_at of the last event; no row = empty log
-- Plan: SCAN fait_events
SELECT position, recorded_at FROM fait_events ORDER BY position DESC LIMIT 1;
