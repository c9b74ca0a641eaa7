-- oldest_messages: the first message of each type after a position. The recursion skips from type to type in the
-- index (a loose index scan).
-- In:   ?1 after
-- Out:  type, position, recorded_at, by type
-- Plan: SEARCH fait_events USING COVERING INDEX fait_events_messages (type>?)
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM fait_events WHERE expires = 1
    UNION ALL
    SELECT (SELECT min(e.type) FROM fait_events AS e WHERE e.expires = 1 AND e.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT e.type, e.position, e.recorded_at
FROM types CROSS JOIN fait_events AS e ON e.position = (
    SELECT min(m.position) FROM fait_events AS m WHERE m.expires = 1 AND m.type = types.type AND m.position > ?1
)
ORDER BY e.type;
