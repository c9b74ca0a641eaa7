-- delete_workers: remove all workers, in a copy of the store.
-- In:   nothing
-- Out:  nothing
DELETE FROM fait_workers;
