-- page_end: the position of the last event, and how often registrations were changed before it was stored.
-- In:   nothing
-- Out:  position, 0: the log is empty; sum of the revisions of all registrations
-- Plan: SEARCH fait_events
SELECT coalesce(max(position), 0), (SELECT coalesce(sum(revision), 0) FROM fait_subscriptions) FROM fait_events;
