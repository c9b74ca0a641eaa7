-- external_append: an append in a transaction that somebody else began, in whatever driver, which puts its own mark in place of `?`.
-- In:   ? appends, as text: a driver may have been told what json is made of · ? look_up · ? joined: see
--       migrations/0006_append_batch_1.sql
-- Out:  the function's rows as one text of JSON
SELECT CAST(json_agg(json_build_array(
    append_no, write_no, result, last_version, last_position, existing_events, conflicting_events
)) AS text)
FROM {schema}.fait_append_batch_1(
    CAST(CAST(? AS text) AS json), check_ids => CAST(? AS boolean), idle_timeout_ms => CAST(? AS integer)
);
