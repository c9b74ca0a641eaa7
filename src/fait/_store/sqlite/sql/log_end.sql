-- log_end: the last event of the log, and the version of a stream.
-- In:   ?1 stream
-- Out:  position and recorded_at of the last event, version of the stream (NULL: no such stream); no row: the log is
--       empty
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT position, recorded_at, (SELECT max(version) FROM fait_events WHERE stream = ?1)
FROM fait_events
ORDER BY position DESC
LIMIT 1;
