-- external_write_lock: make sure that a transaction of a user may write; changes nothing.
-- In:   nothing
-- Out:  nothing
UPDATE fait_log SET epoch = epoch;
