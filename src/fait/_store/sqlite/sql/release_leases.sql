-- release_leases: an owner stops.
-- In:   ?1 owner
-- Out:  nothing
UPDATE fait_leases SET owner = '', beat = beat + 1 WHERE owner = ?1;
