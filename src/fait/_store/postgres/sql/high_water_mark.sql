-- high_water_mark: the position up to which the log is final, the last one that can be seen at all, the highest that was dropped.
-- In:   nothing
-- Out:  mark, end, expired; 0 = empty log, nothing dropped
-- Plan: backward index scans on the primary keys
SELECT {schema}.fait_high_water_mark_1(), greatest(
    (SELECT max(position) FROM {schema}.fait_events),
    (SELECT max(position) FROM {schema}.fait_messages),
    0
), (SELECT expired_position FROM {schema}.fait_log);
