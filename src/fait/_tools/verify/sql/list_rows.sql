-- list_rows: read the rows of all outbox transactions.
-- In:   nothing
-- Out:  keys
-- Plan: sequential scan
SELECT key FROM verify_rows;
