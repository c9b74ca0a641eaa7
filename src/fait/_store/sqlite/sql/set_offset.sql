-- set_offset: set the offset of a lane.
-- In:   ?1 consumer · ?2 topic · ?3 lane · ?4 offset
-- Out:  nothing
INSERT INTO fait_inbox_offsets (consumer, topic, lane, lane_offset) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (consumer, topic, lane) DO UPDATE SET lane_offset = excluded.lane_offset;
