-- append: see migrations/0004_append_1.sql. Arrays are sent as single texts: texts joined by a separator, numbers as
-- array literals.
-- In:   $1 separator · $2-$4 writes · $5-$14 events · $15-$19 queries · $20 now_override · $21 atomic · $22 check_ids ·
--       $23 lock_timeout_ms · $24 expected_epoch · $25 known_position
-- Out:  a row for each write
SELECT write_no, result, last_version, last_position, existing_events, conflicting_events
FROM {schema}.fait_append_1(
    string_to_array($2, $1), $3::text::bigint[], $4::text::integer[],
    $5::text::integer[], $6::text::integer[], string_to_array($7, $1)::uuid[], string_to_array($8, $1),
    $9::text::integer[], string_to_array($10, $1), string_to_array($11, $1), string_to_array($12, $1, ''), $13, $14,
    $15, $16, $17, $18, $19, $20, $21, $22, $23,
    expected_epoch => $24, known_position => $25
);
