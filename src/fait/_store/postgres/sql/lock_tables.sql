-- lock_tables: make processes that create or drop tables wait for each other, until the transaction ends.
-- In:   $1 schema
-- Out:  nothing
-- Plan: none: CREATE TABLE IF NOT EXISTS alone fails when two run at once
SELECT pg_advisory_xact_lock(hashtextextended('fait_tables ' || $1, 0));
