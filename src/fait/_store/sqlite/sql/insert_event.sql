-- insert_event: insert an event. To insert several, the row of placeholders is repeated.
-- In:   position · stream · version · type · schema_version · id · data · metadata · tags or NULL · recorded_at ·
--       occurred_at · expires
-- Out:  nothing
INSERT INTO fait_events
    (position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at, expires)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
