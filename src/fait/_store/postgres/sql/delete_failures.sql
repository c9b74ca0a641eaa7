-- delete_failures: delete the failures of some keys.
-- In:   $1 subscription · $2 generation · $3 keys
-- Out:  nothing
-- Plan: Delete on fait_failures, Index Scan using fait_failures_pkey
DELETE FROM {schema}.fait_failures WHERE subscription = $1 AND generation = $2 AND key = ANY($3::text[]);
