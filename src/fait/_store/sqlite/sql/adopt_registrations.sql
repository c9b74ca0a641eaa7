-- adopt_registrations: carry registrations over to a new epoch. One with a range beyond the end of the log keeps the old
-- epoch, and its subscription does not start, unless its source is a broker.
-- In:   ?1 log_id · ?2 id of the old epoch · ?3 id of the new epoch · ?4 position of the last event
-- Out:  nothing
UPDATE fait_subscriptions AS s SET epoch_id = ?3
WHERE log_id = ?1 AND epoch_id = ?2 AND (s.kind = 'consumer' OR NOT EXISTS (
    SELECT 1 FROM fait_ranges AS r
    WHERE r.subscription = s.subscription AND r.generation = s.generation AND r.frontier > ?4
));
