-- health_tags: events whose tags differ from their entries in fait_tags.
-- In:   nothing
-- Out:  up to five positions
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
