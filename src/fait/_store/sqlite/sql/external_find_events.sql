-- external_find_events: find events by id, for an append in an external transaction.
-- In:   ? ids as a JSON array
-- Out:  each event that exists
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_2 (id=?)
SELECT id, stream, version, position, type, schema_version, data, tags, metadata
FROM fait_events WHERE id IN (SELECT value FROM json_each(?));
