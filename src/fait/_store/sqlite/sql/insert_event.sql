-- insert_event: keep one event at the end of the log; for several, its row of values is repeated.
-- In:   position · stream · version · type · schema · id · data · metadata · tags or NULL · recorded_at · occurred_at ·
--       expires
-- Out:  nothing
INSERT INTO fait_events
    (position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at, expires)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
