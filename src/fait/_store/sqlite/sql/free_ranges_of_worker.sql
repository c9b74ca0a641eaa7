-- free_ranges_of_worker: free all ranges of a worker.
-- In:   ?1 worker
-- Out:  nothing
UPDATE fait_ranges SET worker = '', fencing_token = fencing_token + 1 WHERE worker = ?1;
