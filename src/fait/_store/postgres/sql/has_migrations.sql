-- has_migrations: whether the schema has a table of migrations, that is, whether a store was set up in it.
-- In:   $1 schema
-- Out:  true or false
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = 'fait_migrations'
);
