-- insert_migration: remember that a step was applied.
-- In:   ?1 number · ?2 name · ?3 fingerprint · ?4 compatible_from · ?5 applied_at
-- Out:  nothing
INSERT INTO fait_migrations (number, name, checksum, compatible_from, applied_at) VALUES (?1, ?2, ?3, ?4, ?5);
