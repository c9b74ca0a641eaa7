-- health_versions: streams with a gap in their versions, where no dropped message can have been.
-- In:   nothing
-- Out:  the first few, by name
-- Plan: SCAN fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1
SELECT DISTINCT stream
FROM (
    SELECT stream, version, lag(version, 1, 0) OVER one AS before, lag(position, 1, 0) OVER one AS place
    FROM fait_events
    WINDOW one AS (PARTITION BY stream ORDER BY version)
)
WHERE version != before + 1 AND place >= (SELECT expired_position FROM fait_log)
ORDER BY stream
LIMIT 5;
