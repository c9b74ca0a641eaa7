-- move_range: move a range, if fencing token and revision are still current.
-- In:   $1 subscription · $2 generation · $3 low · $4 fencing token · $5 revision · $6 position
--       $7 frontier · $8 pending, an array as text
-- Out:  one row; no row: the work is fenced
-- Plan: Index Scan using fait_ranges_pkey, after one of fait_subscriptions_pkey
UPDATE {schema}.fait_ranges SET position = $6, frontier = $7, pending = $8::text::bigint[], health = ''
WHERE subscription = $1 AND generation = $2 AND low = $3
    -- fault: stale-fencing-token-accepted-in-postgres
    AND fencing_token = $4
    AND EXISTS (
        SELECT FROM {schema}.fait_subscriptions
        WHERE subscription = $1 AND generation = $2 AND state <> 'retired'
            -- fault: stale-revision-accepted-in-postgres
            AND revision = $5
    )
RETURNING position;
