-- insert_upper_half: copy a range, with the next fencing token, to its upper half.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 worker · ?5 fencing token · ?6 lowest hash of the upper half
-- Out:  one row; no row: the lease was lost, or there is no such half
INSERT INTO fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
-- fault: new-half-begins-at-token-1
SELECT subscription, generation, ?6, high, position, frontier, pending, health, worker, fencing_token + 1
FROM fait_ranges
WHERE subscription = ?1 AND generation = ?2 AND low = ?3 AND low < ?6 AND ?6 < high
    -- fault: stale-lease-splits
    AND worker = ?4 AND fencing_token = ?5
RETURNING low;
