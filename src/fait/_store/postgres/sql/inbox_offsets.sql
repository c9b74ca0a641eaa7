-- inbox_offsets: the offsets of a consumer.
-- In:   $1 consumer
-- Out:  topic, lane and offset, in order
-- Plan: Index Scan using fait_inbox_offsets_pkey
SELECT topic, lane, lane_offset FROM {schema}.fait_inbox_offsets WHERE consumer = $1 ORDER BY topic, lane;
