-- lock_tables: serialize the creation and removal of read-model tables until the end of the transaction.
-- In:   $1 schema
-- Out:  nothing
-- Plan: none; without the lock, two concurrent CREATE TABLE IF NOT EXISTS can fail
SELECT pg_advisory_xact_lock(hashtextextended('fait_tables ' || $1, 0));
