-- stream_ends: the last events of several streams, as one row: one fetch instead of one for each stream.
-- In:   ?1 streams as a JSON array
-- Out:  a JSON object of [version, recorded_at], without missing streams
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT json_group_object(stream, json_array(version, recorded_at))
FROM json_each(?1) AS given
JOIN fait_events ON stream = given.value AND version = (SELECT max(version) FROM fait_events WHERE stream = given.value);
