-- external_stream_version: where a stream is, for an append in a transaction of a user.
-- In:   ? stream
-- Out:  its version; NULL = no such stream
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT max(version) FROM fait_events WHERE stream = ?;
