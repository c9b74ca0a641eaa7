-- insert_tags: make events found by their tags.
-- In:   $1 positions · $2 tags, one for each position
-- Out:  nothing
INSERT INTO {schema}.fait_tags (tag, position)
SELECT DISTINCT hashtextextended(t.tag, 0), t.position FROM unnest($1::bigint[], $2::text[]) AS t (position, tag);
