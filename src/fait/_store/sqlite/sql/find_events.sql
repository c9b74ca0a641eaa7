-- find_events: find events by id.
-- In:   ?1 ids as a JSON array
-- Out:  the events that exist, by position
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_2 (id=?)
SELECT position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at
FROM fait_events
WHERE id IN (SELECT value FROM json_each(?1))
ORDER BY position;
