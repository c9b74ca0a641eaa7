-- page_end: where a page ends, the position of the last event, and how often registrations were changed until now.
-- In:   nothing
-- Out:  position, 0: the log is empty; sum of the revisions of all registrations
-- Plan: SEARCH fait_events
SELECT coalesce(max(position), 0), (SELECT coalesce(sum(revision), 0) FROM fait_subscriptions) FROM fait_events;
