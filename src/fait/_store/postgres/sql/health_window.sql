-- health_window: the position after which the newest events begin.
-- In:   $1 maximum number of positions
-- Out:  position; 0: all events
-- Plan: backward index scans on the primary keys
SELECT greatest(
    (SELECT max(position) FROM {schema}.fait_events) - $1, (SELECT max(position) FROM {schema}.fait_messages) - $1, 0
);
