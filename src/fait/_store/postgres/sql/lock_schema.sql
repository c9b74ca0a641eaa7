-- lock_schema: until the transaction's end, one at a time brings this schema up to date.
-- In:   nothing
-- Out:  nothing
SELECT pg_advisory_xact_lock(hashtextextended('{schema}.fait_migrations', 0));
