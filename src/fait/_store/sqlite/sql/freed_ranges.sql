-- freed_ranges: the ranges of a retired registration.
-- In:   ?1 subscription · ?2 generation
-- Out:  low, high, position, frontier, pending, health and fencing token of each
SELECT low, high, position, frontier, pending, health, fencing_token
FROM fait_ranges
WHERE subscription = ?1 AND generation = ?2;
