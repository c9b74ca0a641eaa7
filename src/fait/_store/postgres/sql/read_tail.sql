-- read_tail: the high-water mark, and the events between a position and it, if they are few.
-- In:   $1 beyond · $2 most events · $3 most bytes
-- Out:  mark, end and expired as of mark.sql, and an event; at least one row, without an event if there is none, or too many
-- Plan: Function Scan; in it, Merge Append of index scans on the primary keys
SELECT * FROM {schema}.fait_read_tail_1($1, $2, $3);
