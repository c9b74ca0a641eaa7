-- health_versions: streams whose versions are not dense, or not what the stream's row says.
-- In:   $1 after: events beyond this position only; 0 = all
-- Out:  the first few, by name
-- Plan: HashAggregate over index scans on the primary keys
WITH found AS (
    SELECT stream, min(version) AS first, max(version) AS last, count(*) AS events
    FROM {schema}.fait_all WHERE position > $1 GROUP BY stream
)
SELECT stream
FROM found FULL JOIN {schema}.fait_streams AS s USING (stream)
WHERE (found.stream IS NOT NULL OR $1 = 0)
    AND (
        s.version IS DISTINCT FROM found.last OR found.last - found.first + 1 <> found.events
        OR ($1 = 0 AND found.first <> 1)
    )
ORDER BY stream
LIMIT 5;
