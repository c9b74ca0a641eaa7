-- health_triggers: the triggers of the database, to check those that make the log append-only.
-- In:   nothing
-- Out:  names
SELECT name FROM sqlite_schema WHERE type = 'trigger';
