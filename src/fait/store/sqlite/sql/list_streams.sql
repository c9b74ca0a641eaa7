-- list_streams: streams by name, beyond a name.
-- In:   ?1 after · ?2 limit · ?3 category or NULL
-- Out:  name and version
-- Plan: SEARCH fait_streams USING PRIMARY KEY (stream>?)
SELECT stream, version FROM fait_streams
WHERE stream > ?1 AND (?3 IS NULL OR substr(stream, 1, instr(stream || '-', '-') - 1) = ?3)
ORDER BY stream
LIMIT ?2;
