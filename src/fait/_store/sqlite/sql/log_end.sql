-- log_end: the last event of the log, and the last event of a stream.
-- In:   ?1 stream
-- Out:  position and recorded_at of the last event, version and recorded_at of the stream (NULL: no such stream); no row:
--       the log is empty
-- Plan: SCAN log, and SEARCH last USING INDEX sqlite_autoindex_fait_events_1 (stream=?), both for one row
SELECT log.position, log.recorded_at, last.version, last.recorded_at
FROM fait_events AS log
LEFT JOIN fait_events AS last ON last.stream = ?1
ORDER BY log.position DESC, last.version DESC
LIMIT 1;
