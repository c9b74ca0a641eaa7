-- stream_has_large: whether a stream has a large event after a version.
-- In:   ?1 stream · ?2 after
-- Out:  one row, or no row: there is none
-- Plan: SEARCH fait_events USING COVERING INDEX fait_events_large_version (stream=? AND version>?)
SELECT 1
FROM fait_events INDEXED BY fait_events_large_version
WHERE stream = ?1 AND version > ?2
    AND (length(data) > 4096 OR length(metadata) > 4096 OR length(tags) > 4096)
LIMIT 1;
