-- high_water_mark: see migrations/0003_high_water_mark_1.sql.
-- In:   $1 expected_epoch
-- Out:  the mark, the position of the last visible event, the highest position of all deleted messages; 0: none
-- Plan: backward index scans on the primary keys
SELECT {schema}.fait_high_water_mark_1($1), greatest(
    (SELECT max(position) FROM {schema}.fait_events),
    (SELECT max(position) FROM {schema}.fait_messages),
    0
), (SELECT expired_position FROM {schema}.fait_log);
