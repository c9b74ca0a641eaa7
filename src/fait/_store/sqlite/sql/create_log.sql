-- create_log: create the identity of a new log.
-- In:   ?1 log_id · ?2 epoch_id
-- Out:  nothing
INSERT INTO fait_log (log_id, epoch_id) VALUES (?1, ?2);
