-- lock_schema: serialize migrations and adoptions of the schema until the end of the transaction.
-- In:   nothing
-- Out:  nothing
SELECT pg_advisory_xact_lock(hashtextextended('{schema}.fait_migrations', 0));
