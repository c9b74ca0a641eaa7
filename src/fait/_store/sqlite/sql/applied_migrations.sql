-- applied_migrations: which steps of the schema were applied, with what text, and when.
-- In:   nothing
-- Out:  number, name, fingerprint, compatible_from, applied_at
SELECT number, name, checksum, compatible_from, applied_at FROM fait_migrations ORDER BY number;
