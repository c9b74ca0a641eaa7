-- forget_lease: a subscription is gone; its lease stays, free, so that its fences are never given again.
-- In:   ?1 subscription
-- Out:  nothing
UPDATE fait_leases SET owner = '', fence = fence + 1, beat = beat + 1 WHERE name = ?1;
