-- append_bulk: see migrations/0005_append_bulk_1.sql.
-- In:   $1-$3 writes · $4 event_types · $5 event_tags · $6 now_override · $7 lock_timeout_ms · $8 idle_timeout_ms ·
--       $9 expected_epoch · $10 known_position
-- Out:  a row for each write; no row: a stream is not at its expected version
SELECT write_no, last_version, last_position FROM {schema}.fait_append_bulk_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
