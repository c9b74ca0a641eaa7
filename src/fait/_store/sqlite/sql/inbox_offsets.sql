-- inbox_offsets: the offsets of a consumer.
-- In:   ?1 consumer
-- Out:  topic, lane and offset, in order
SELECT topic, lane, lane_offset FROM fait_inbox_offsets WHERE consumer = ?1 ORDER BY topic, lane;
