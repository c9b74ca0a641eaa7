-- list_rows: all rows of that table.
-- In:   nothing
-- Out:  names
-- Plan: sequential scan
SELECT name FROM verify_rows;
