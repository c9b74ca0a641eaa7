-- health_streams: streams whose version is not that of their last event; those without a row, and those without an event.
-- In:   nothing
-- Out:  the first few
SELECT coalesce(s.stream, e.stream)
FROM fait_streams AS s
FULL JOIN (SELECT stream, max(version) AS version FROM fait_events GROUP BY stream) AS e ON e.stream = s.stream
WHERE s.version IS NOT e.version
LIMIT 5;
