-- external_insert_event: keep one event, in a transaction of a user.
-- In:   ? position, stream, version, type, schema, id, data, metadata, tags or NULL, recorded_at, occurred_at, expires
-- Out:  nothing
INSERT INTO fait_events
    (position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at, expires)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
