-- incomplete_event: an event without its stream's version or one of its tags, among the oldest and the newest 200. Tables
-- that were restored separately differ there.
-- In:   nothing
-- Out:  position of the newest such event, or NULL
-- Plan: index scans on the primary keys, from both ends, and one lookup for each stream and tag
SELECT max(position)
FROM (
    (SELECT position, stream, version, tags FROM {schema}.fait_all_events ORDER BY position LIMIT 200)
    UNION ALL
    (SELECT position, stream, version, tags FROM {schema}.fait_all_events ORDER BY position DESC LIMIT 200)
) AS e
WHERE e.version > coalesce((SELECT s.version FROM {schema}.fait_streams AS s WHERE s.stream = e.stream LIMIT 1), 0)
    OR EXISTS (
        SELECT FROM unnest(e.tags) AS t (tag)
        WHERE (
            SELECT i.position FROM {schema}.fait_tags AS i
            WHERE i.tag = hashtextextended(t.tag, 0) AND i.position = e.position LIMIT 1
        ) IS NULL
    );
