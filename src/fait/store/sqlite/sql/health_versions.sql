-- health_versions: streams whose versions are not 1, 2, 3, … without a gap.
-- In:   nothing
-- Out:  the first few, by name
-- Plan: SCAN fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1
SELECT stream
FROM fait_events
GROUP BY stream
HAVING min(version) != 1 OR max(version) != count(*)
LIMIT 5;
