-- insert_event: keep one event at the end of the log.
-- In:   ?1 stream · ?2 version · ?3 type · ?4 schema · ?5 id · ?6 data · ?7 metadata · ?8 tags or NULL · ?9 recorded_at · ?10 occurred_at
-- Out:  nothing; its position is the last inserted rowid
INSERT INTO fait_events (stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10);
