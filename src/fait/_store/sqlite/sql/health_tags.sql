-- health_tags: events that the index of tags knows under other tags than they have.
-- In:   nothing
-- Out:  positions of the first few
SELECT position FROM (
    SELECT e.position, t.value AS tag FROM fait_events AS e, json_each(e.tags) AS t
    EXCEPT
    SELECT position, tag FROM fait_tags
)
UNION
SELECT position FROM (
    SELECT position, tag FROM fait_tags
    EXCEPT
    SELECT e.position, t.value FROM fait_events AS e, json_each(e.tags) AS t
)
LIMIT 5;
