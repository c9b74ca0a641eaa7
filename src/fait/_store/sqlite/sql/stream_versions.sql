-- stream_versions: where streams are; one row for all of them, so that they are one step.
-- In:   ?1 streams as a JSON array
-- Out:  their versions as a JSON object, null = no such stream
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT json_group_object(value, (SELECT max(version) FROM fait_events WHERE stream = value))
FROM json_each(?1);
