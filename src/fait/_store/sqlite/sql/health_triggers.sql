-- health_triggers: what stops events from being changed by accident.
-- In:   nothing
-- Out:  names of all triggers
SELECT name FROM sqlite_schema WHERE type = 'trigger';
