-- history: the part of a stream's events that a fold needs, after a version, in order, up to the first one with
-- large data.
-- In:   ?1 stream · ?2 after · ?3 limit
-- Out:  version, position, id, type, schema_version, data, by version
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=? AND version>? AND version<?); the
--       first large one: SEARCH fait_events USING COVERING INDEX fait_events_large (stream=? AND version>?)
SELECT version, position, id, type, schema_version, data
FROM fait_events
WHERE stream = ?1 AND version > ?2
    AND version <= coalesce((
        SELECT version
        FROM fait_events INDEXED BY fait_events_large
        WHERE stream = ?1 AND version > ?2 AND length(CAST(data AS BLOB)) > 4096
        ORDER BY version
        LIMIT 1
    ), 9223372036854775807)
ORDER BY version
LIMIT ?3;
