-- read_tagged: events of the log that have all given tags, after a position, in order.
-- In:   ?1-?5 as in read_log · ?6 the first tag · ?7 all tags as a JSON array
-- Out:  events, by position
-- Plan: SEARCH t USING PRIMARY KEY (tag=? AND position>? AND position<?)
SELECT e.position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at
FROM fait_tags AS t
CROSS JOIN fait_events AS e ON e.position = t.position
WHERE t.tag = ?6 AND t.position > ?1 AND t.position <= ?2
    AND (?4 IS NULL OR type IN (SELECT value FROM json_each(?4)))
    AND (?5 IS NULL OR substr(stream, 1, instr(stream || '-', '-') - 1) = ?5)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(?7) AS required
        WHERE NOT EXISTS (SELECT 1 FROM fait_tags AS a WHERE a.tag = required.value AND a.position = t.position)
    )
ORDER BY t.position
LIMIT ?3;
