-- identity: the identity of the log.
-- In:   nothing
-- Out:  log_id, epoch
SELECT log_id, epoch FROM fait_log;
