-- applied_migrations: applied migrations, by number.
-- In:   nothing
-- Out:  number, name, checksum, compatible_from, applied_at
SELECT number, name, checksum, compatible_from, applied_at FROM fait_migrations ORDER BY number;
