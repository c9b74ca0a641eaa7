-- read_stream: events of a stream after a version, in order.
-- In:   ?1 stream · ?2 after · ?3 limit · ?4 last version or NULL · ?5 last position or NULL ·
--       ?6 last recorded_at or NULL · ?7 last occurred_at or NULL
-- Out:  events, by version
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_1 (stream=? AND version>?)
SELECT position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at
FROM fait_events
WHERE stream = ?1 AND version > ?2
    -- fault: version-limit-exclusive
    AND (?4 IS NULL OR version <= ?4)
    -- fault: position-limit-exclusive
    AND (?5 IS NULL OR position <= ?5)
    -- fault: time-limit-exclusive
    AND (?6 IS NULL OR recorded_at <= ?6)
    AND (?7 IS NULL OR occurred_at <= ?7)
ORDER BY version
LIMIT ?3;
