-- health_streams: streams whose version is not that of their last event; those without a row, and those without an event.
-- In:   nothing
-- Out:  the first few, by name
SELECT stream FROM (
    SELECT stream, version AS said, 0 AS seen FROM fait_streams
    UNION ALL
    SELECT stream, 0, max(version) FROM fait_events GROUP BY stream
)
GROUP BY stream
HAVING sum(said) != sum(seen)
LIMIT 5;
