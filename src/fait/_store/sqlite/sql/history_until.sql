-- history_until: as history, up to a version, a position or a time.
-- In:   ?1-?7 as in read_stream
-- Out:  as in history
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=? AND version>? AND version<?); the
--       first large one: SEARCH fait_events USING INDEX fait_events_large (stream=? AND version>?)
SELECT version, position, id, type, schema_version, data
FROM fait_events
WHERE stream = ?1 AND version > ?2
    AND (?4 IS NULL OR version <= ?4)
    AND (?5 IS NULL OR position <= ?5)
    AND (?6 IS NULL OR recorded_at <= ?6)
    AND (?7 IS NULL OR occurred_at <= ?7)
    AND version <= coalesce((
        SELECT version
        FROM fait_events INDEXED BY fait_events_large
        WHERE stream = ?1 AND version > ?2 AND length(CAST(data AS BLOB)) > 4096 AND (?7 IS NULL OR occurred_at <= ?7)
        ORDER BY version
        LIMIT 1
    ), 9223372036854775807)
ORDER BY version
LIMIT ?3;
