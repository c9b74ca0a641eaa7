-- free_ranges: free the ranges of a subscription, or all.
-- In:   ?1 subscription, or NULL for all
-- Out:  nothing
UPDATE fait_ranges SET worker = '', fencing_token = fencing_token + 1 WHERE ?1 IS NULL OR subscription = ?1;
