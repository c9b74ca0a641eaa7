-- create_foreign: create a table in a transaction that is never committed.
-- In:   nothing
-- Out:  nothing
CREATE TABLE verify_foreign (name text NOT NULL);
