-- health_versions: streams with a gap in their versions where no dropped message can have been, or with another version than
-- the stream's row says.
-- In:   $1 after: events beyond this position only; 0 = all
-- Out:  the first few, by name
-- Plan: WindowAgg over index scans on the primary keys
WITH found AS (
    SELECT stream, max(version) AS last,
        bool_or(version <> before + 1 AND place >= (SELECT expired_position FROM {schema}.fait_log)) AS gap
    FROM (
        SELECT stream, version, lag(version, 1, CASE WHEN $1 = 0 THEN 0 ELSE version - 1 END) OVER one AS before,
            lag(position, 1, 0::bigint) OVER one AS place
        FROM {schema}.fait_all_events
        WHERE position > $1
        WINDOW one AS (PARTITION BY stream ORDER BY version)
    ) AS e
    GROUP BY stream
)
SELECT stream
FROM found FULL JOIN {schema}.fait_streams AS s USING (stream)
WHERE (found.stream IS NOT NULL OR $1 = 0) AND (found.gap OR s.version IS DISTINCT FROM found.last)
ORDER BY stream
LIMIT 5;
