-- create_log: create the identity of a new log.
-- In:   ?1 log_id · ?2 created_at
-- Out:  nothing
INSERT INTO fait_log (log_id, epoch, created_at) VALUES (?1, 1, ?2);
