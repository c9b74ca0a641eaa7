-- head: position of the last event at or below a high-water mark.
-- In:   $1 mark
-- Out:  position; 0: empty log
-- Plan: backward index scans on the primary keys
SELECT greatest(
    (SELECT max(position) FROM {schema}.fait_events WHERE position <= $1),
    (SELECT max(position) FROM {schema}.fait_messages WHERE position <= $1),
    0
);
