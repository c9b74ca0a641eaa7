-- insert_row: a row of that table.
-- In:   ? name, of the event that goes with it
-- Out:  nothing
INSERT INTO verify_rows (name) VALUES (CAST(? AS text));
