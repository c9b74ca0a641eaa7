-- repair_tags: add the missing tags of all events. Requires lock_log.
-- In:   nothing
-- Out:  nothing
-- Plan: Seq Scan on all events
INSERT INTO {schema}.fait_tags (tag, position)
SELECT hashtextextended(tag, 0), position FROM {schema}.fait_all_events, unnest(tags) AS tag
ON CONFLICT DO NOTHING;
