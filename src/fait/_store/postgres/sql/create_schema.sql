-- create_schema: create the schema that holds all tables and functions of the store.
-- In:   nothing
-- Out:  nothing
CREATE SCHEMA IF NOT EXISTS {schema};
