-- health_tags: positions where fait_tags and the tags of the event differ.
-- In:   $1 check events after this position; 0: check all, also rows of fait_tags without an event
-- Out:  the first five positions
SELECT position FROM (
    SELECT e.position
    FROM {schema}.fait_all_events AS e, unnest(e.tags) AS t (tag)
    WHERE e.position > $1 AND NOT EXISTS (
        SELECT FROM {schema}.fait_tags AS i WHERE i.tag = hashtextextended(t.tag, 0) AND i.position = e.position
    )
    UNION
    SELECT position FROM (
        SELECT position, tag FROM {schema}.fait_tags WHERE $1 = 0
        EXCEPT
        SELECT e.position, hashtextextended(t.tag, 0)
        FROM {schema}.fait_all_events AS e, unnest(e.tags) AS t (tag) WHERE $1 = 0
    ) AS without_event
) AS differences
ORDER BY position
LIMIT 5;
