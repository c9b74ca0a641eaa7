-- external_stream_end: the last event of a stream, for an append in an external transaction.
-- In:   ? stream
-- Out:  its version and recorded_at; no row: no such stream
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT version, recorded_at FROM fait_events WHERE stream = ? ORDER BY version DESC LIMIT 1;
