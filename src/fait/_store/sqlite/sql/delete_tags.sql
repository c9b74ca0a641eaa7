-- delete_tags: delete the tags of expired messages.
-- In:   ?1 [[position, tags], …] as a JSON array
-- Out:  nothing
-- Plan: SEARCH fait_tags USING PRIMARY KEY (tag=? AND position=?)
DELETE FROM fait_tags
WHERE (tag, position) IN (
    SELECT tag.value, message.value ->> 0 FROM json_each(?1) AS message, json_each(message.value -> 1) AS tag
);
