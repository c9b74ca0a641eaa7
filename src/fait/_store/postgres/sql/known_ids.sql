-- known_ids: ids of messages of a consumer that are stored.
-- In:   $1 consumer · $2 sources · $3 ids, one for each source
-- Out:  source and id of those that exist
-- Plan: Index Only Scan using fait_inbox_ids_pkey for each id, by LIMIT also before the table has statistics
SELECT u.source, u.id
FROM unnest($2::text[], $3::text[]) AS u (source, id) CROSS JOIN LATERAL (
    SELECT FROM {schema}.fait_inbox_ids AS i
    WHERE i.consumer = $1 AND i.source = u.source AND i.id = u.id
    LIMIT 1
) AS i;
