-- external_write_lock: acquire the write lock in an external transaction; changes nothing.
-- In:   nothing
-- Out:  nothing
UPDATE fait_log SET expired_position = expired_position;
