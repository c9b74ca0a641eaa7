-- beat_leases: show that an owner lives.
-- In:   ?1 owner
-- Out:  names of its leases
UPDATE fait_leases SET beat = beat + 1 WHERE owner = ?1 RETURNING name;
