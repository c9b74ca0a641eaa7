-- external_find_events: events by their ids, in a transaction of the application, through any driver; the adapter replaces
-- each `?` by the driver's placeholder.
-- In:   ? ids as an array literal
-- Out:  stream and metadata of each event that exists, by position
-- Plan: Index scans on id
SELECT stream, CAST(metadata AS text)
FROM {schema}.fait_all_events
WHERE id = ANY (CAST(CAST(? AS text) AS uuid[]))
ORDER BY position;
