-- external_find_events: events by their ids, for an append in a transaction of a user.
-- In:   ? ids as a JSON array
-- Out:  where those are that exist
-- Plan: SEARCH fait_events USING INDEX sqlite_autoindex_fait_events_2 (id=?)
SELECT id, stream, version, position FROM fait_events WHERE id IN (SELECT value FROM json_each(?));
