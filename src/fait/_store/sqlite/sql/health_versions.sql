-- health_versions: streams with a gap in their versions that deleted messages cannot explain.
-- In:   nothing
-- Out:  up to five streams, by name
-- Plan: SCAN fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1
SELECT DISTINCT stream
FROM (
    SELECT stream, version, lag(version, 1, 0) OVER by_version AS last_version,
        lag(position, 1, 0) OVER by_version AS last_position
    FROM fait_events
    WINDOW by_version AS (PARTITION BY stream ORDER BY version)
)
WHERE version != last_version + 1 AND last_position >= (SELECT expired_position FROM fait_log)
ORDER BY stream
LIMIT 5;
