-- insert_ids: insert ids of messages, unless they are stored.
-- In:   $1 consumer · $2 sources · $3 ids, one for each source · $4 day
-- Out:  one row for each inserted id
-- Plan: Insert on fait_inbox_ids
INSERT INTO {schema}.fait_inbox_ids (consumer, source, id, day)
SELECT $1, source, id, $4 FROM unnest($2::text[], $3::text[]) AS u (source, id)
ON CONFLICT DO NOTHING
RETURNING id;
