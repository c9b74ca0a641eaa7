-- list_streams: streams after a name, by name. The recursion skips from name to name in the index (a loose index scan).
-- In:   ?1 after · ?2 limit · ?3 category or NULL
-- Out:  name, version
-- Plan: SEARCH fait_events USING COVERING INDEX sqlite_autoindex_fait_events_1 (stream>?)
WITH RECURSIVE names (stream) AS (
    -- fault: stream-page-repeats-last
    SELECT min(stream) FROM fait_events WHERE stream > ?1
    UNION ALL
    SELECT (SELECT min(e.stream) FROM fait_events AS e WHERE e.stream > names.stream)
    FROM names WHERE names.stream IS NOT NULL
)
SELECT stream, (SELECT max(e.version) FROM fait_events AS e WHERE e.stream = names.stream)
FROM names
WHERE stream IS NOT NULL AND (?3 IS NULL OR substr(stream, 1, instr(stream || '-', '-') - 1) = ?3)
LIMIT ?2;
