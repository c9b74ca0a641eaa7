-- append_one_after_move: append_after_move of one event without a condition.
-- In:   $1-$8 as in move_range · $9-$22 as $1-$14 of append_one
-- Out:  as append_after_move
SELECT max({schema}.fait_appended_1((f).result, (f).last_position)) FROM (
    SELECT {schema}.fait_append_one_1($9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) AS f
    -- fault: events-stored-before-fencing-in-statement
    FROM moved OFFSET 0
) AS appended;
