-- health_leases: leases that somebody holds for a subscription without a checkpoint; those for retention are for none.
-- In:   nothing
-- Out:  the first few names
SELECT name FROM fait_leases AS l
WHERE owner != '' AND name NOT LIKE 'fait:retention:%'
    AND NOT EXISTS (SELECT 1 FROM fait_checkpoints WHERE subscription = l.name)
LIMIT 5;
