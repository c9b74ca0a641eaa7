-- history: the part of a stream's events that a fold needs, after a version, in order, up to the first one with
-- large data.
-- In:   ?1-?7 as in read_stream
-- Out:  version, position, id, type, schema_version, data, by version
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=? AND version>? AND version<?); the
--       first large one: SEARCH fait_events USING INDEX fait_events_large_version (stream=? AND version>?)
SELECT version, position, id, type, schema_version, data
FROM fait_events
WHERE stream = ?1 AND version > ?2
    AND (?4 IS NULL OR version <= ?4)
    AND (?5 IS NULL OR position <= ?5)
    AND (?6 IS NULL OR recorded_at <= ?6)
    AND (?7 IS NULL OR occurred_at <= ?7)
    AND version <= coalesce((
        SELECT version
        FROM fait_events INDEXED BY fait_events_large_version
        WHERE stream = ?1 AND version > ?2 AND length(data) > 4096 AND (?7 IS NULL OR occurred_at <= ?7)
        ORDER BY version
        LIMIT 1
    ), 9223372036854775807)
ORDER BY version
LIMIT ?3;
