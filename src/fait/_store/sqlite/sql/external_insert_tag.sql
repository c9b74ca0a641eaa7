-- external_insert_tag: make an event found by a tag, in a transaction of a user.
-- In:   ? tag, position
-- Out:  nothing
INSERT OR IGNORE INTO fait_tags (tag, position) VALUES (?, ?);
