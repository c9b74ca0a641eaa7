-- insert_tag: insert a tag of an event. To insert several, the row of placeholders is repeated.
-- In:   tag · position
-- Out:  nothing
INSERT OR IGNORE INTO fait_tags (tag, position) VALUES (?, ?);
