-- insert_foreign: a row of that table.
-- In:   nothing
-- Out:  nothing
INSERT INTO verify_foreign (name) VALUES ('foreign');
