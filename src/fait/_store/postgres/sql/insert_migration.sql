-- insert_migration: record that a migration was applied.
-- In:   $1 number · $2 name · $3 checksum · $4 compatible_from
-- Out:  nothing
INSERT INTO {schema}.fait_migrations (number, name, checksum, compatible_from) VALUES ($1, $2, $3, $4);
