-- create_schema: the room of all our tables and functions.
-- In:   nothing
-- Out:  nothing
CREATE SCHEMA IF NOT EXISTS {schema};
