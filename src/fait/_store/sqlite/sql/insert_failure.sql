-- insert_failure: insert a failure.
-- In:   ?1 to ?19: its attributes, in their order
-- Out:  nothing
INSERT INTO fait_failures (
    subscription, generation, key, slot, state, next_position, attempts, stream, event_id, event_type, first_failed_at,
    last_failed_at, error_type, error, location, traceback, requested_by, reason, discard_until
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19);
