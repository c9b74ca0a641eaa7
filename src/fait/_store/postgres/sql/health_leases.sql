-- health_leases: leases held for a subscription without a checkpoint. Leases for retention belong to no subscription.
-- In:   nothing
-- Out:  the first few names
SELECT name FROM {schema}.fait_leases AS l
WHERE owner <> '' AND name NOT LIKE 'fait:retention:%'
    AND NOT EXISTS (SELECT FROM {schema}.fait_checkpoints AS c WHERE c.subscription = l.name)
ORDER BY name
LIMIT 5;
