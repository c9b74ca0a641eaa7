-- retired_subscriptions: names of subscriptions that were removed or renamed, and not registered again.
-- In:   nothing
-- Out:  names
SELECT DISTINCT subscription FROM fait_subscriptions WHERE state = 'retired' ORDER BY subscription;
