-- stream_versions: the versions of several streams, as one row: one fetch instead of one for each stream.
-- In:   ?1 streams as a JSON array
-- Out:  a JSON object of versions; null: no such stream
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT json_group_object(value, (SELECT max(version) FROM fait_events WHERE stream = value))
FROM json_each(?1);
