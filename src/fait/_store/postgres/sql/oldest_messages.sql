-- oldest_messages: the first message of each type after a position. A skip scan: one index lookup for each type.
-- In:   $1 after
-- Out:  type, position, recorded_at, by type
-- Plan: Index Scan using fait_messages_type
WITH RECURSIVE types (type) AS (
    SELECT min(type) FROM {schema}.fait_messages
    UNION ALL
    SELECT (SELECT min(e.type) FROM {schema}.fait_messages AS e WHERE e.type > types.type)
    FROM types WHERE types.type IS NOT NULL
)
SELECT oldest.type, oldest.position, oldest.recorded_at
FROM types CROSS JOIN LATERAL (
    SELECT * FROM {schema}.fait_messages AS e WHERE e.type = types.type AND e.position > $1 ORDER BY e.position LIMIT 1
) AS oldest
ORDER BY oldest.type;
