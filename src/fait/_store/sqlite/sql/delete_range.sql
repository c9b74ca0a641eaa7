-- delete_range: delete a range, of which another one has the hashes.
-- In:   ?1 subscription · ?2 generation · ?3 low
-- Out:  nothing
DELETE FROM fait_ranges WHERE subscription = ?1 AND generation = ?2 AND low = ?3;
