-- create_rows: create a table that stands for a user's table; outbox transactions write to it.
-- In:   nothing
-- Out:  nothing
CREATE TABLE verify_rows (key text NOT NULL);
