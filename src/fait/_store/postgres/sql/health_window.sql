-- health_window: where the newest events begin.
-- In:   $1 how many positions, at most
-- Out:  a position: those beyond it; 0 = all
-- Plan: backward index scans on the primary keys
SELECT greatest(
    (SELECT max(position) FROM {schema}.fait_events) - $1, (SELECT max(position) FROM {schema}.fait_messages) - $1, 0
);
