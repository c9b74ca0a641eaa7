-- release_lease: release a lease, if the owner still holds it with this fencing token.
-- In:   $1 name · $2 owner · $3 fencing_token
-- Out:  nothing
-- Plan: Index Scan using fait_leases_pkey
UPDATE {schema}.fait_leases SET owner = '', heartbeat = heartbeat + 1
WHERE name = $1 AND owner = $2 AND fencing_token = $3;
