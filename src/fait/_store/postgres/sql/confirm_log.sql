-- confirm_log: write the epoch and the timeline of fait_log into fait_epoch_1 and fait_timeline_1.
-- In:   nothing
-- Out:  nothing
SELECT {schema}.fait_confirm_1();
