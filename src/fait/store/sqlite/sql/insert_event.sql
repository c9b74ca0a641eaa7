-- insert_event: keep one event at the end of the log.
-- In:   ?1 position · ?2 stream · ?3 version · ?4 type · ?5 schema · ?6 id · ?7 data · ?8 metadata · ?9 tags or NULL
--       · ?10 recorded_at · ?11 occurred_at
-- Out:  nothing
INSERT INTO fait_events
    (position, stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11);
