-- extend_lower_range: extend a range over its upper neighbor, under a fencing token that neither has had.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 worker · ?5 fencing token · ?6 low and ?7 fencing token of the upper one
-- Out:  one row; no row: a lease was lost, or they cannot be merged
UPDATE fait_ranges AS r SET
    high = upper.high,
    -- fault: token-of-upper-range-reused
    fencing_token = max(r.fencing_token, upper.fencing_token) + 1
FROM fait_ranges AS upper
WHERE r.subscription = ?1 AND r.generation = ?2 AND r.low = ?3 AND r.worker = ?4 AND r.fencing_token = ?5
    AND upper.subscription = ?1 AND upper.generation = ?2 AND upper.low = ?6 AND upper.low = r.high AND upper.worker = ?4
    -- fault: stale-lease-merges
    AND upper.fencing_token = ?7
    -- fault: ranges-merged-at-different-frontiers
    AND upper.frontier = r.frontier
    -- fault: pending-positions-merged
    AND r.position = r.frontier AND upper.position = upper.frontier -- nothing is pending
RETURNING low;
