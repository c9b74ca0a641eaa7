-- insert_row: insert the row of an outbox transaction.
-- In:   ? key, of the event in the same transaction
-- Out:  nothing
INSERT INTO verify_rows (key) VALUES (CAST(? AS text));
