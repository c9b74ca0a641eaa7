-- report_health: say what is wrong with a range.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 worker · ?5 fencing token · ?6 health
-- Out:  nothing
UPDATE fait_ranges SET health = ?6
WHERE subscription = ?1 AND generation = ?2 AND low = ?3 AND worker = ?4 AND fencing_token = ?5;
