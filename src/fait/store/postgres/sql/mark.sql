-- mark: the position up to which the log is final.
-- In:   nothing
-- Out:  position
SELECT {schema}.fait_mark_1();
