-- append_one: one event without a condition; see migrations/0004_append_1.sql.
-- In:   $1 stream · $2 expected · $3-$10 the event · $11 moment · $12 patience
-- Out:  a verdict, and when it is appended the time of it
SELECT write_no, result, last_version, last_position, existing_events, conflicting_events, recorded
FROM {schema}.fait_append_one_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
