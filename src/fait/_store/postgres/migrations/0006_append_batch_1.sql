-- fait_append_batch_1: several appends in one call and one transaction, in order: each sees the events of the appends
-- before it. The appends are one JSON text, so that any driver in any language can call the function.
--
-- Arguments
--   appends  a JSON array:
--
--     [{"writes": [{"stream": "order-7", "expected": -1, "events": [{"id": "...", "type": "...", "schema_version": 1,
--          "data": {...}, "metadata": {}, "tags": ["..."], "occurred_at": null, "expires": false}]}],
--       "after": 17,
--       "queries": [{"types": ["..."], "tags": ["..."], "category": "..."}]}]
--
--     An append names each stream once. Its writes succeed or fail together; a rejected append does not affect the
--     others. `queries` is the append condition, if there is one: no event after the position `after` may match any of
--     the queries. Each key of a query is optional.
--
--   now_override, check_ids, lock_timeout_ms, idle_timeout_ms, expected_epoch: as in fait_append_1
--   known_position  as in fait_append_1; NULL: the position of the last event, which the function then looks up
--
-- Returns the rows of fait_append_1 for each append, with the number of the append, from 1.

CREATE FUNCTION {schema}.fait_append_batch_1(
    appends json, now_override timestamptz DEFAULT NULL, check_ids boolean DEFAULT true,
    lock_timeout_ms integer DEFAULT NULL, idle_timeout_ms integer DEFAULT NULL, expected_epoch text DEFAULT NULL,
    known_position bigint DEFAULT NULL
) RETURNS TABLE (
    append_no integer, write_no integer, result text, last_version bigint, last_position bigint, existing_events json,
    conflicting_events json
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    append  record;
    writes  record;
    events  record;
    queries record;
    write   json;
    event   json;
BEGIN
    IF known_position IS NULL THEN
        known_position := greatest(
            (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
        );
    END IF;
    -- Fast path for a single event without a condition, the most frequent append in transactions of an application.
    IF NOT check_ids AND json_array_length(appends) = 1 AND json_array_length(appends #> '{0,writes}') = 1
        AND json_array_length(appends #> '{0,writes,0,events}') = 1 AND appends #> '{0,queries}' IS NULL THEN
        IF idle_timeout_ms IS NOT NULL AND {schema}.fait_idle_timeout_exceeds_1(idle_timeout_ms) THEN
            PERFORM set_config('idle_in_transaction_session_timeout', idle_timeout_ms::text, true);
        END IF;
        write := appends #> '{0,writes,0}';
        event := write #> '{events,0}';
        RETURN QUERY
        SELECT 1, f.write_no, f.result, f.last_version, f.last_position, f.existing_events, f.conflicting_events
        FROM {schema}.fait_append_one_1(
            write ->> 'stream', (write ->> 'expected')::bigint, (event ->> 'id')::uuid, event ->> 'type',
            coalesce((event ->> 'schema_version')::integer, 1), event -> 'data', coalesce(event -> 'metadata', '{}'),
            CASE WHEN json_array_length(event -> 'tags') > 0
                THEN ARRAY(SELECT json_array_elements_text(event -> 'tags'))
            END,
            (event ->> 'occurred_at')::timestamptz, coalesce((event ->> 'expires')::boolean, false), now_override,
            lock_timeout_ms, expected_epoch, known_position
        ) AS f;
        RETURN;
    END IF;
    FOR append IN
        SELECT n::integer AS number, a AS body FROM json_array_elements(appends) WITH ORDINALITY AS _ (a, n)
    LOOP
        SELECT array_agg(w ->> 'stream' ORDER BY n) AS streams,
            array_agg((w ->> 'expected')::bigint ORDER BY n) AS expected_versions,
            array_agg(json_array_length(w -> 'events') ORDER BY n) AS event_counts
        INTO writes FROM json_array_elements(append.body -> 'writes') WITH ORDINALITY AS _ (w, n);
        SELECT array_agg(n::integer ORDER BY n, m) AS write_nos, array_agg(m::integer ORDER BY n, m) AS event_nos,
            array_agg((e ->> 'id')::uuid ORDER BY n, m) AS ids, array_agg(e ->> 'type' ORDER BY n, m) AS types,
            array_agg(coalesce((e ->> 'schema_version')::integer, 1) ORDER BY n, m) AS schema_versions,
            array_agg((e -> 'data')::text ORDER BY n, m) AS data,
            array_agg(coalesce((e -> 'metadata')::text, '{}') ORDER BY n, m) AS metadata,
            CASE WHEN bool_or(json_array_length(e -> 'tags') > 0) THEN array_agg(
                (SELECT array_agg(t)::text FROM json_array_elements_text(e -> 'tags') AS t) ORDER BY n, m
            ) END AS tags,
            array_agg((e ->> 'occurred_at')::timestamptz ORDER BY n, m) AS occurred_at,
            array_agg(coalesce((e ->> 'expires')::boolean, false) ORDER BY n, m) AS expires
        INTO events
        FROM json_array_elements(append.body -> 'writes') WITH ORDINALITY AS _ (w, n),
            json_array_elements(w -> 'events') WITH ORDINALITY AS __ (e, m);
        SELECT array_agg(1) AS write_nos, array_agg((append.body ->> 'after')::bigint) AS after,
            array_agg((SELECT array_agg(t)::text FROM json_array_elements_text(q -> 'types') AS t) ORDER BY n) AS types,
            array_agg((SELECT array_agg(t)::text FROM json_array_elements_text(q -> 'tags') AS t) ORDER BY n) AS tags,
            array_agg(q ->> 'category' ORDER BY n) AS categories
        INTO queries FROM json_array_elements(append.body -> 'queries') WITH ORDINALITY AS _ (q, n);
        RETURN QUERY
        SELECT append.number, f.*
        FROM {schema}.fait_append_1(
            writes.streams, writes.expected_versions, writes.event_counts, events.write_nos, events.event_nos,
            events.ids, events.types, events.schema_versions, events.data, events.metadata, events.tags,
            events.occurred_at, events.expires, queries.write_nos, queries.after, queries.types, queries.tags,
            queries.categories, now_override, true, check_ids, lock_timeout_ms, idle_timeout_ms,
            expected_epoch, known_position
        ) AS f;
    END LOOP;
END $$;
