-- delete_messages: delete expired messages from the log.
-- In:   ?1 positions as a JSON array
-- Out:  nothing
-- Plan: SEARCH fait_events USING INTEGER PRIMARY KEY (rowid=?)
DELETE FROM fait_events WHERE position IN (SELECT value FROM json_each(?1));
