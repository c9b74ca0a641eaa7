-- insert_migration: remember that a step was applied.
-- In:   $1 number · $2 name · $3 fingerprint
-- Out:  nothing
INSERT INTO {schema}.fait_migrations (number, name, fingerprint) VALUES ($1, $2, $3);
