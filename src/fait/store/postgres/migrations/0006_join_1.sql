-- Join: an append in a transaction that somebody else began, last of all in it, as one statement with one text: any driver in
-- any language can call it.
--
--   writes    [{"stream": "order-7", "expected": -1, "events": [{"id": "…", "type": "…", "schema": 1, "data": {…},
--             "metadata": {}, "tags": ["…"], "occurred_at": null, "expires": false}]}], each stream once. All or none.
--   idle      milliseconds that the transaction may stand idle from here on, until it ends.
--   search    whether the ids may be stored already.
--
-- Gives the rows of fait_append_1 as JSON.

CREATE FUNCTION {schema}.fait_join_1(writes json, idle integer, search boolean) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    w record;
    e record;
    answer json;
BEGIN
    SELECT array_agg(x ->> 'stream' ORDER BY n) AS stream, array_agg((x ->> 'expected')::bigint ORDER BY n) AS expected,
        array_agg(json_array_length(x -> 'events') ORDER BY n) AS count
    INTO w FROM json_array_elements(writes) WITH ORDINALITY AS one (x, n);
    SELECT array_agg(n::integer ORDER BY n, m) AS write, array_agg(m::integer ORDER BY n, m) AS place,
        array_agg((y ->> 'id')::uuid ORDER BY n, m) AS id, array_agg(y ->> 'type' ORDER BY n, m) AS type,
        array_agg(coalesce((y ->> 'schema')::integer, 1) ORDER BY n, m) AS schema,
        array_agg((y -> 'data')::text ORDER BY n, m) AS data,
        array_agg(coalesce((y -> 'metadata')::text, '{}') ORDER BY n, m) AS metadata,
        CASE WHEN bool_or(json_array_length(y -> 'tags') > 0) THEN array_agg(
            (SELECT array_agg(t)::text FROM json_array_elements_text(y -> 'tags') AS t) ORDER BY n, m
        ) END AS tags,
        array_agg((y ->> 'occurred_at')::timestamptz ORDER BY n, m) AS occurred,
        array_agg(coalesce((y ->> 'expires')::boolean, false) ORDER BY n, m) AS expires
    INTO e
    FROM json_array_elements(writes) WITH ORDINALITY AS one (x, n),
        json_array_elements(x -> 'events') WITH ORDINALITY AS each (y, m);
    SELECT json_agg(row_to_json(a)) INTO answer
    FROM {schema}.fait_append_1(
        w.stream, w.expected, w.count, e.write, e.place, e.id, e.type, e.schema, e.data, e.metadata, e.tags, e.occurred,
        e.expires, whole => true, look_up => search, joined => idle
    ) AS a;
    RETURN answer::text;
END $$;
