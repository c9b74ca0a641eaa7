-- insert_migration: remember that a step was applied.
-- In:   $1 number · $2 name · $3 fingerprint · $4 compatible_from
-- Out:  nothing
INSERT INTO {schema}.fait_migrations (number, name, checksum, compatible_from) VALUES ($1, $2, $3, $4);
