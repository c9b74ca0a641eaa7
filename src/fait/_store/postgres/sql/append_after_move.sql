-- append_after_move: after `WITH moved AS (move_range)`: append the events of handlers if the range has moved.
-- In:   $1-$9 as in move_range · $10-$34 as $1-$25 of append
-- Out:  position of the last event; NULL: the work is fenced. An append that is rejected fails
SELECT max({schema}.fait_appended_1((f).result, (f).last_position)) FROM (
    SELECT {schema}.fait_append_1(
        string_to_array($11, $10), $12::text::bigint[], $13::text::integer[],
        $14::text::integer[], $15::text::integer[], string_to_array($16, $10)::uuid[], string_to_array($17, $10),
        $18::text::integer[], string_to_array($19, $10), string_to_array($20, $10), string_to_array($21, $10, ''), $22, $23,
        $24, $25, $26, $27, $28, $29, $30, $31, $32,
        expected_epoch => $33, known_position => $34
    ) AS f
    FROM moved OFFSET 0 -- in the SELECT list, the function is called once for each row of `moved`, and not without one
) AS appended;
