-- expire: drop messages of a type that are old enough, with their tags, and note how far that went.
-- In:   $1 type · $2 recorded before · $3 behind, the last position considered · $4 after · $5 limit
-- Out:  how many were dropped, how many were considered, the last position of these
-- Plan: Index Scan using fait_expiring_type
WITH considered AS MATERIALIZED (
    SELECT position, stream, version, recorded_at
    FROM {schema}.fait_expiring
    WHERE type = $1 AND position > $4 AND position <= least($3, (SELECT min(position) FROM {schema}.fait_checkpoints))
    ORDER BY position
    LIMIT $5
), old AS MATERIALIZED (
    SELECT * FROM considered
    WHERE NOT EXISTS (SELECT FROM considered AS c WHERE c.recorded_at >= $2 AND c.position <= considered.position)
), gone AS (
    DELETE FROM {schema}.fait_expiring AS e
    USING old JOIN {schema}.fait_streams AS s ON s.stream = old.stream AND s.version > old.version
    WHERE e.position = old.position
    RETURNING e.position, e.tags
), untagged AS (
    DELETE FROM {schema}.fait_tags AS t
    USING (SELECT position, hashtextextended(tag, 0) AS tag FROM gone, unnest(tags) AS u (tag)) AS g
    WHERE t.tag = g.tag AND t.position = g.position
), noted AS (
    UPDATE {schema}.fait_log SET expired = greatest(expired, (SELECT max(position) FROM gone))
    WHERE EXISTS (SELECT FROM gone)
)
SELECT (SELECT count(*) FROM gone), count(*), max(position) FROM old;
