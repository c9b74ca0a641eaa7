-- find_events: events by their ids.
-- In:   $1 ids
-- Out:  the events that exist, by position
-- Plan: Index scans on id
SELECT position, stream, version, type, schema_version, id::text, data, metadata, tags, recorded_at, occurred_at
FROM {schema}.fait_all_events
WHERE id = ANY ($1::uuid[])
ORDER BY position;
