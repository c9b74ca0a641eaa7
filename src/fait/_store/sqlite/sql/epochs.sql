-- epochs: the epochs of the log, in order.
-- In:   nothing
-- Out:  epoch_id, after_position, started_at
SELECT epoch_id, after_position, started_at FROM fait_epochs ORDER BY number;
