-- has_schema: whether the schema exists.
-- In:   $1 schema
-- Out:  true or false
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1);
