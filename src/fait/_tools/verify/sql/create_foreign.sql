-- create_foreign: a table that a transaction makes and never commits.
-- In:   nothing
-- Out:  nothing
CREATE TABLE verify_foreign (name text NOT NULL);
