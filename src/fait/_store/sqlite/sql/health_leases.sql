-- health_leases: leases held for subscriptions without a checkpoint. Leases for retention never have one.
-- In:   nothing
-- Out:  up to five names
SELECT name FROM fait_leases AS l
WHERE owner != '' AND name NOT LIKE 'fait:retention:%'
    AND NOT EXISTS (SELECT 1 FROM fait_checkpoints WHERE subscription = l.name)
LIMIT 5;
