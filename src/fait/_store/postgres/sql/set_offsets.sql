-- set_offsets: set the offsets of lanes.
-- In:   $1 consumer · $2 topics · $3 lanes · $4 offsets
-- Out:  nothing
-- Plan: Insert on fait_inbox_offsets
INSERT INTO {schema}.fait_inbox_offsets (consumer, topic, lane, lane_offset)
SELECT $1, topic, lane, lane_offset FROM unnest($2::text[], $3::integer[], $4::text[]) AS u (topic, lane, lane_offset)
ON CONFLICT (consumer, topic, lane) DO UPDATE SET lane_offset = excluded.lane_offset;
