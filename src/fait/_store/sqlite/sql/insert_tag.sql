-- insert_tag: make an event found by a tag; for several, its row of values is repeated.
-- In:   tag · position
-- Out:  nothing
INSERT OR IGNORE INTO fait_tags (tag, position) VALUES (?, ?);
