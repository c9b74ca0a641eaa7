-- set_mark: move a mark, or insert it.
-- In:   ?1 consumer · ?2 source · ?3 key · ?4 position · ?5 time · ?6 lane · ?7 bucket
-- Out:  nothing
INSERT INTO fait_inbox_marks (consumer, source, key, position, handled_at, lane, bucket)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (consumer, source, key) DO UPDATE
SET position = excluded.position, handled_at = excluded.handled_at, lane = excluded.lane;
