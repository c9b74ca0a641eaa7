-- raise_floor: raise a floor, or insert it.
-- In:   ?1 consumer · ?2 source · ?3 bucket · ?4 lane · ?5 position
-- Out:  nothing
INSERT INTO fait_inbox_floors (consumer, source, bucket, lane, position) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (consumer, source, bucket, lane) DO UPDATE SET position = max(position, excluded.position);
