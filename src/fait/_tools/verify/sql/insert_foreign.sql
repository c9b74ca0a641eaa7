-- insert_foreign: insert a row into the uncommitted table.
-- In:   nothing
-- Out:  nothing
INSERT INTO verify_foreign (name) VALUES ('foreign');
