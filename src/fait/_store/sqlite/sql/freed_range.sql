-- freed_range: the range of a retired registration.
-- In:   ?1 subscription · ?2 generation
-- Out:  fencing token, position
SELECT fencing_token, position FROM fait_ranges WHERE subscription = ?1 AND generation = ?2;
