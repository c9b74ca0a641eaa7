-- append_after_move: after `WITH moved AS (move_range)`: append the events of handlers if the range has moved.
-- In:   $1-$6 as in move_range · $7-$31 as $1-$25 of append
-- Out:  position of the last event; NULL: the work is fenced. An append that is rejected fails
SELECT max({schema}.fait_appended_1((f).result, (f).last_position)) FROM (
    SELECT {schema}.fait_append_1(
        string_to_array($8, $7), $9::text::bigint[], $10::text::integer[],
        $11::text::integer[], $12::text::integer[], string_to_array($13, $7)::uuid[], string_to_array($14, $7),
        $15::text::integer[], string_to_array($16, $7), string_to_array($17, $7), string_to_array($18, $7, ''), $19, $20,
        $21, $22, $23, $24, $25, $26, $27, $28, $29,
        expected_epoch => $30, known_position => $31
    ) AS f
    FROM moved OFFSET 0 -- in the SELECT list, the function is called once for each row of `moved`, and not without one
) AS appended;
