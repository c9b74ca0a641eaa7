-- drop_schema: drop the schema and everything in it.
-- In:   nothing
-- Out:  nothing
DROP SCHEMA IF EXISTS {schema} CASCADE;
