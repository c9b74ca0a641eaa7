-- shrink_to_lower_half: end a range at the beginning of its upper half, under the next fencing token.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 lowest hash of the upper half
-- Out:  nothing
UPDATE fait_ranges SET high = ?4, fencing_token = fencing_token + 1
WHERE subscription = ?1 AND generation = ?2 AND low = ?3;
