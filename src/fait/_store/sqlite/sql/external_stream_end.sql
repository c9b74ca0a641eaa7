-- external_stream_version: the version of a stream, for an append in an external transaction.
-- In:   ? stream
-- Out:  version; NULL: no such stream
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT max(version) FROM fait_events WHERE stream = ?;
