-- Append each: several appends one after another, in one call and one transaction: each sees what those before it did. All that
-- is to be stored comes as one text, so that any driver in any language can call it.
--
--   appends   [{"writes": […], "after": 17, "queries": […]}]
--   writes    [{"stream": "order-7", "expected": -1, "events": [{"id": "…", "type": "…", "schema": 1, "data": {…},
--             "metadata": {}, "tags": ["…"], "occurred_at": null, "expires": false}]}], each stream once. All or none.
--   queries   of the condition, if there is one: [{"types": ["…"], "tags": ["…"], "category": "…"}], none of them needed;
--             `after` is the position that it knows.
--
-- The other arguments are those of fait_append_1. A row for each write of each append, as from there, with the append's number.

CREATE FUNCTION {schema}.fait_append_batch_1(
    appends json, now_override timestamptz DEFAULT NULL, check_ids boolean DEFAULT true, lock_timeout_ms integer DEFAULT NULL,
    idle_timeout_ms integer DEFAULT NULL
) RETURNS TABLE (
    append_no integer, write_no integer, result text, last_version bigint, last_position bigint, existing_events json,
    conflicting_events json
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    a record;
    w record;
    e record;
    q record;
    write json;
    event json;
BEGIN
    -- One event and nothing beside it, as most are in a transaction of somebody else's.
    IF NOT check_ids AND json_array_length(appends) = 1 AND json_array_length(appends #> '{0,writes}') = 1
        AND json_array_length(appends #> '{0,writes,0,events}') = 1 AND appends #> '{0,queries}' IS NULL THEN
        IF idle_timeout_ms IS NOT NULL AND {schema}.fait_idle_timeout_exceeds_1(idle_timeout_ms) THEN
            PERFORM set_config('idle_in_transaction_session_timeout', idle_timeout_ms::text, true);
        END IF;
        write := appends #> '{0,writes,0}';
        event := write #> '{events,0}';
        RETURN QUERY SELECT 1, f.write_no, f.result, f.last_version, f.last_position, f.existing_events, f.conflicting_events
        FROM {schema}.fait_append_one_1(
            write ->> 'stream', (write ->> 'expected')::bigint, (event ->> 'id')::uuid, event ->> 'type',
            coalesce((event ->> 'schema_version')::integer, 1), event -> 'data', coalesce(event -> 'metadata', '{}'),
            CASE WHEN json_array_length(event -> 'tags') > 0 THEN ARRAY(SELECT json_array_elements_text(event -> 'tags')) END,
            (event ->> 'occurred_at')::timestamptz, coalesce((event ->> 'expires')::boolean, false), now_override, lock_timeout_ms
        ) AS f;
        RETURN;
    END IF;
    FOR a IN SELECT n::integer, x FROM json_array_elements(appends) WITH ORDINALITY AS one (x, n) LOOP
        SELECT array_agg(x ->> 'stream' ORDER BY n) AS stream, array_agg((x ->> 'expected')::bigint ORDER BY n) AS expected,
            array_agg(json_array_length(x -> 'events') ORDER BY n) AS count
        INTO w FROM json_array_elements(a.x -> 'writes') WITH ORDINALITY AS one (x, n);
        SELECT array_agg(n::integer ORDER BY n, m) AS write, array_agg(m::integer ORDER BY n, m) AS place,
            array_agg((y ->> 'id')::uuid ORDER BY n, m) AS id, array_agg(y ->> 'type' ORDER BY n, m) AS type,
            array_agg(coalesce((y ->> 'schema_version')::integer, 1) ORDER BY n, m) AS schema_version,
            array_agg((y -> 'data')::text ORDER BY n, m) AS data,
            array_agg(coalesce((y -> 'metadata')::text, '{}') ORDER BY n, m) AS metadata,
            CASE WHEN bool_or(json_array_length(y -> 'tags') > 0) THEN array_agg(
                (SELECT array_agg(t)::text FROM json_array_elements_text(y -> 'tags') AS t) ORDER BY n, m
            ) END AS tags,
            array_agg((y ->> 'occurred_at')::timestamptz ORDER BY n, m) AS occurred,
            array_agg(coalesce((y ->> 'expires')::boolean, false) ORDER BY n, m) AS expires
        INTO e
        FROM json_array_elements(a.x -> 'writes') WITH ORDINALITY AS one (x, n),
            json_array_elements(x -> 'events') WITH ORDINALITY AS each (y, m);
        SELECT array_agg(1) AS write, array_agg((a.x ->> 'after')::bigint) AS after,
            array_agg((SELECT array_agg(t)::text FROM json_array_elements_text(z -> 'types') AS t) ORDER BY n) AS types,
            array_agg((SELECT array_agg(t)::text FROM json_array_elements_text(z -> 'tags') AS t) ORDER BY n) AS tags,
            array_agg(z ->> 'category' ORDER BY n) AS category
        INTO q FROM json_array_elements(a.x -> 'queries') WITH ORDINALITY AS one (z, n);
        RETURN QUERY
        SELECT a.n, f.*
        FROM {schema}.fait_append_1(
            w.stream, w.expected, w.count, e.write, e.place, e.id, e.type, e.schema_version, e.data, e.metadata, e.tags, e.occurred,
            e.expires, q.write, q.after, q.types, q.tags, q.category, now_override, true, check_ids, lock_timeout_ms, idle_timeout_ms
        ) AS f;
    END LOOP;
END $$;
