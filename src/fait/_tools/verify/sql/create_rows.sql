-- create_rows: a user's table, which is changed in the transactions that events are added to.
-- In:   nothing
-- Out:  nothing
CREATE TABLE verify_rows (name text NOT NULL);
