-- identity: the identity of the log.
-- In:   nothing
-- Out:  log_id, epoch_id
SELECT log_id, epoch_id FROM fait_log;
