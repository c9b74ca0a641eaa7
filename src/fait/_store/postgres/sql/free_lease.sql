-- free_lease: a subscription is gone; its lease stays, free, so that its fences are never given again.
-- In:   $1 subscription
-- Out:  nothing
-- Plan: Index Scan using fait_leases_pkey
UPDATE {schema}.fait_leases SET owner = '', fencing_token = fencing_token + 1, heartbeat = heartbeat + 1 WHERE name = $1;
