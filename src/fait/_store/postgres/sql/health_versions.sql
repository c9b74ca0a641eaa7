-- health_versions: streams whose versions have a gap, or differ from the version in fait_streams. A gap below the
-- expired position is not reported: messages were deleted there.
-- In:   $1 check events after this position; 0: check all
-- Out:  the first five names
-- Plan: WindowAgg over index scans on the primary keys
WITH checked AS (
    SELECT stream, max(version) AS last_version,
        bool_or(
            version <> previous_version + 1
            AND previous_position >= (SELECT expired_position FROM {schema}.fait_log)
        ) AS has_gap
    FROM (
        SELECT stream, version,
            lag(version, 1, CASE WHEN $1 = 0 THEN 0 ELSE version - 1 END) OVER in_stream AS previous_version,
            lag(position, 1, 0::bigint) OVER in_stream AS previous_position
        FROM {schema}.fait_all_events
        WHERE position > $1
        WINDOW in_stream AS (PARTITION BY stream ORDER BY version)
    ) AS e
    GROUP BY stream
)
SELECT stream
FROM checked AS c FULL JOIN {schema}.fait_streams AS s USING (stream)
WHERE (c.stream IS NOT NULL OR $1 = 0) AND (c.has_gap OR s.version IS DISTINCT FROM c.last_version)
ORDER BY stream
LIMIT 5;
