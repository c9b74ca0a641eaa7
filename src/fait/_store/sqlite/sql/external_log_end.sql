-- external_log_end: the last event of the log, for an append in an external transaction.
-- In:   nothing
-- Out:  its position and recorded_at; no row: the log is empty
-- Plan: SCAN fait_events
SELECT position, recorded_at FROM fait_events ORDER BY position DESC LIMIT 1;
