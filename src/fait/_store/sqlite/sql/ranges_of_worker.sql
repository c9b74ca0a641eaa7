-- ranges_of_worker: the ranges that a worker owns.
-- In:   ?1 worker
-- Out:  keys
SELECT subscription, generation, low FROM fait_ranges WHERE worker = ?1;
