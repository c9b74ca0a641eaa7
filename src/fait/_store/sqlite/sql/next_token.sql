-- next_token: a fencing token that no range of a registration has had.
-- In:   ?1 subscription · ?2 generation
-- Out:  the token
-- fault: fencing-token-reused
SELECT ifnull(max(fencing_token) + 1, 0) FROM fait_ranges WHERE subscription = ?1 AND generation = ?2;
