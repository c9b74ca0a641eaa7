-- health_tags: events that the index of tags knows under other tags than they have.
-- In:   $1 after: events beyond this position only; 0 = all, and then also entries of the index that no event has
-- Out:  positions of the first few
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
) AS different
ORDER BY position
LIMIT 5;
