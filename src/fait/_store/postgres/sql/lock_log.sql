-- lock_log: wait for the end of all open appends, and let no other begin until the end of the transaction.
-- In:   nothing
-- Out:  nothing
-- Plan: none; each append locks fait_streams before it checks the epoch and draws positions
LOCK TABLE {schema}.fait_streams IN SHARE ROW EXCLUSIVE MODE;
