-- drop_schema: a schema and everything in it.
-- In:   nothing
-- Out:  nothing
DROP SCHEMA IF EXISTS {schema} CASCADE;
