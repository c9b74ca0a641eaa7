-- release_range: free a range, unless it has been acquired again since.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 worker · ?5 fencing token
-- Out:  nothing
UPDATE fait_ranges SET worker = '', fencing_token = fencing_token + 1
-- fault: release-without-fencing-token
WHERE subscription = ?1 AND generation = ?2 AND low = ?3 AND worker = ?4 AND fencing_token = ?5;
