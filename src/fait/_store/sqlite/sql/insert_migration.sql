-- insert_migration: record an applied migration.
-- In:   ?1 number · ?2 name · ?3 checksum · ?4 compatible_from · ?5 applied_at
-- Out:  nothing
INSERT INTO fait_migrations (number, name, checksum, compatible_from, applied_at) VALUES (?1, ?2, ?3, ?4, ?5);
