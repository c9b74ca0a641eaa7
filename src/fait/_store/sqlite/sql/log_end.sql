-- log_end: the last event of the log, and the last event of a stream.
-- In:   ?1 stream
-- Out:  position and recorded_at of the last event, version and recorded_at of the stream (NULL: no such stream); no row:
--       the log is empty
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=?)
SELECT log.position, log.recorded_at, last.version, last.recorded_at
FROM (SELECT position, recorded_at FROM fait_events ORDER BY position DESC LIMIT 1) AS log
LEFT JOIN (
    SELECT version, recorded_at FROM fait_events WHERE stream = ?1 ORDER BY version DESC LIMIT 1
) AS last;
