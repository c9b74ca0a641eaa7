-- delete_ranges: delete the ranges of a registration, which gets others.
-- In:   ?1 subscription · ?2 generation
-- Out:  nothing
DELETE FROM fait_ranges WHERE subscription = ?1 AND generation = ?2;
