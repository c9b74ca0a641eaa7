-- append_one: append one event without a condition; see migrations/0004_append_1.sql.
-- In:   $1 stream_name · $2 expected_version · $3-$10 the event · $11 now_override · $12 lock_timeout_ms ·
--       $13 expected_epoch · $14 known_position
-- Out:  one row, with the event's recorded_at and the sum of the revisions of all registrations, which are NULL if the
--       append was rejected
SELECT write_no, result, last_version, last_position, existing_events, conflicting_events, event_recorded_at, revisions
FROM {schema}.fait_append_one_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);
