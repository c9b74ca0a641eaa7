-- applied_migrations: which steps of the schema were applied, with what text.
-- In:   nothing
-- Out:  number, fingerprint
SELECT number, fingerprint FROM {schema}.fait_migrations ORDER BY number;
