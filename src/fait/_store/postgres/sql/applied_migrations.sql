-- applied_migrations: the migrations that were applied to the schema.
-- In:   nothing
-- Out:  number, name, checksum, compatible_from, applied_at
SELECT number, name, checksum, compatible_from, applied_at FROM {schema}.fait_migrations ORDER BY number;
