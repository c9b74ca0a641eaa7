-- set_expired_position: record the position up to which messages were deleted.
-- In:   ?1 position
-- Out:  nothing
UPDATE fait_log SET expired_position = max(expired_position, ?1);
