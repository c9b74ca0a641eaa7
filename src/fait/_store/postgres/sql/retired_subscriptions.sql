-- retired_subscriptions: names of subscriptions that were removed or renamed, and not registered again.
-- In:   nothing
-- Out:  names
-- Plan: Seq Scan on fait_subscriptions: one row for each subscription
SELECT DISTINCT subscription FROM {schema}.fait_subscriptions WHERE state = 'retired' ORDER BY subscription;
