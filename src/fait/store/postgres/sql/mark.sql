-- mark: the position up to which the log is final, and the last one that can be seen at all.
-- In:   nothing
-- Out:  mark, end; 0 = empty log
-- Plan: backward index scans on the primary keys
SELECT {schema}.fait_mark_1(), greatest(
    (SELECT max(position) FROM {schema}.fait_events),
    (SELECT max(position) FROM {schema}.fait_expiring),
    0
);
