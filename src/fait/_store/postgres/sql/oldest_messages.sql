-- oldest_messages: the first message of each type beyond a position. It leaps from one type to the next in the index.
-- In:   $1 after
-- Out:  type, position, recorded_at, by type
-- Plan: Index Scan using fait_messages_type
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM {schema}.fait_messages
    UNION ALL
    SELECT (SELECT min(e.type) FROM {schema}.fait_messages AS e WHERE e.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT first.type, first.position, first.recorded_at
FROM types CROSS JOIN LATERAL (
    SELECT * FROM {schema}.fait_messages AS e WHERE e.type = types.type AND e.position > $1 ORDER BY e.position LIMIT 1
) AS first
ORDER BY first.type;
