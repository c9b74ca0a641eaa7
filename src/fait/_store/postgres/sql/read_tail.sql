-- read_tail: the high-water mark and, within limits, the events up to it; see migrations/0008_read_tail_1.sql.
-- In:   $1 after · $2 max_events · $3 max_bytes · $4 expected_epoch
-- Out:  the columns of high_water_mark, the sum of the revisions of all registrations, then the columns of an event; at
--       least one row
-- Plan: Function Scan; in it, Merge Append of index scans on the primary keys
SELECT * FROM {schema}.fait_read_tail_1($1, $2, $3, $4);
