-- has_migrations: whether a log was ever set up in the schema.
-- In:   $1 schema
-- Out:  true or false
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = 'fait_migrations'
);
