-- enter_retention: until the transaction's end, messages may be dropped, and no subscription can start.
-- In:   nothing
-- Out:  nothing
SELECT set_config('fait.maintenance', 'retention', true),
    pg_advisory_xact_lock(hashtextextended('{schema}.fait_retention', 0));
