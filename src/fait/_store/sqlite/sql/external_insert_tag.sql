-- external_insert_tag: insert a tag of an event in an external transaction.
-- In:   ? tag, position
-- Out:  nothing
INSERT OR IGNORE INTO fait_tags (tag, position) VALUES (?, ?);
