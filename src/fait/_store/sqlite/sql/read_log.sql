-- read_log: events of the log after a position, in order.
-- In:   ?1 after · ?2 last position · ?3 limit · ?4 types as a JSON array or NULL · ?5 category or NULL
-- Out:  events, by position
-- Plan: SEARCH fait_events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)
SELECT position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at
FROM fait_events
-- fault: log-page-repeats-last
WHERE position > ?1 AND position <= ?2
    AND (?4 IS NULL OR type IN (SELECT value FROM json_each(?4)))
    AND (?5 IS NULL OR substr(stream, 1, instr(stream || '-', '-') - 1) = ?5)
ORDER BY position
LIMIT ?3;
