-- append_batch: see migrations/0006_append_batch_1.sql.
-- In:   $1 appends · $2 now_override · $3 check_ids · $4 lock_timeout_ms · $5 expected_epoch · $6 known_position
-- Out:  a row for each write of each append
SELECT append_no, write_no, result, last_version, last_position, existing_events, conflicting_events
FROM {schema}.fait_append_batch_1(
    $1, $2, $3, $4, expected_epoch => $5, known_position => $6
);
