-- set_folded: remember that a mark was folded into its floor.
-- In:   ?1 consumer · ?2 source · ?3 bucket · ?4 lane · ?5 position
-- Out:  nothing
UPDATE fait_inbox_floors SET folded = max(folded, ?5)
WHERE consumer = ?1 AND source = ?2 AND bucket = ?3 AND lane = ?4;
