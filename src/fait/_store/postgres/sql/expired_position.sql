-- expired_position: the highest position of all deleted messages.
-- In:   nothing
-- Out:  position; 0: none was deleted
SELECT expired_position FROM {schema}.fait_log;
