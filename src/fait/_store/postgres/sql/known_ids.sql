-- known_ids: ids of messages of a consumer that are stored.
-- In:   $1 consumer · $2 sources · $3 ids, one for each source
-- Out:  source and id of those that exist
-- Plan: Index Only Scan using fait_inbox_ids_pkey
SELECT i.source, i.id
FROM {schema}.fait_inbox_ids AS i JOIN unnest($2::text[], $3::text[]) AS u (source, id) USING (source, id)
WHERE i.consumer = $1;
