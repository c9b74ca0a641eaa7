-- insert_tag: make an event found by a tag.
-- In:   ?1 tag · ?2 position
-- Out:  nothing
INSERT OR IGNORE INTO fait_tags (tag, position) VALUES (?1, ?2);
