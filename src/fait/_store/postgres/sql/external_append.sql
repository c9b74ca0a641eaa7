-- external_append: an append in a transaction of the application, through any driver; the adapter replaces each `?` by
-- the driver's placeholder.
-- In:   ? appends, as text, because the application may have registered its own JSON codec · ? check_ids ·
--       ? idle_timeout_ms; see migrations/0006_append_batch_1.sql
-- Out:  the function's rows as one JSON text
SELECT CAST(json_agg(json_build_array(
    append_no, write_no, result, last_version, last_position, existing_events, conflicting_events
)) AS text)
FROM {schema}.fait_append_batch_1(
    CAST(CAST(? AS text) AS json), check_ids => CAST(? AS boolean), idle_timeout_ms => CAST(? AS integer)
);
