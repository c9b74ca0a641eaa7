-- offsets_after_move: after `WITH moved AS (move_range)`: set the offsets of lanes if the range has moved.
-- In:   $1-$8 as in move_range, where $1 is the consumer · $9 topics · $10 lanes · $11 offsets
-- Out:  one row for each offset; no row: the work is fenced
INSERT INTO {schema}.fait_inbox_offsets (consumer, topic, lane, lane_offset)
SELECT $1, topic, lane, lane_offset
FROM moved, unnest($9::text[], $10::integer[], $11::text[]) AS u (topic, lane, lane_offset)
ON CONFLICT (consumer, topic, lane) DO UPDATE SET lane_offset = excluded.lane_offset
RETURNING lane;
