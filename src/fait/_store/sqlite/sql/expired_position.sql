-- expired_position: the position up to which messages were deleted.
-- In:   nothing
-- Out:  position; 0: no message was deleted yet
SELECT expired_position FROM fait_log;
