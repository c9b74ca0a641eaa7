-- stream_version: where a stream is.
-- In:   ?1 stream
-- Out:  its version; NULL = no such stream
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT max(version) FROM fait_events WHERE stream = ?1;
