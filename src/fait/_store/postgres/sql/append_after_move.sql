-- append_after_move: after `WITH moved AS (move_range)`: append the events of handlers if the range has moved.
-- In:   $1-$8 as in move_range · $9-$33 as $1-$25 of append
-- Out:  position of the last event; NULL: the work is fenced. An append that is rejected fails
SELECT max({schema}.fait_appended_1((f).result, (f).last_position)) FROM (
    SELECT {schema}.fait_append_1(
        string_to_array($10, $9), $11::text::bigint[], $12::text::integer[],
        $13::text::integer[], $14::text::integer[], string_to_array($15, $9)::uuid[], string_to_array($16, $9),
        $17::text::integer[], string_to_array($18, $9), string_to_array($19, $9), string_to_array($20, $9, ''), $21, $22,
        $23, $24, $25, $26, $27, $28, $29, $30, $31,
        expected_epoch => $32, known_position => $33
    ) AS f
    FROM moved OFFSET 0 -- in the SELECT list, the function is called once for each row of `moved`, and not without one
) AS appended;
