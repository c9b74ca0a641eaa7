-- Load: an append of very many events, which COPY has put into a temporary table of this session beforehand: so no lock is held
-- and no ticket taken while the events come over the wire. The steps and their order are those of fait_append_1;
-- conditions are not for it, nor are events that expire.
--
-- w_*     the writes, which hold or fail together.
-- types   the events' types, each once. tags: their tags, each once.
-- idle    milliseconds that the transaction may stand idle from here on, until it ends.
--
-- A row for each write: its stream's new version and the position of its last event. If a version is not as expected: nothing
-- at all, and the caller takes the transaction back.

CREATE FUNCTION {schema}.fait_append_bulk_1(
    w_stream text[], w_expected bigint[], w_count integer[], types text[], tags text[], now_override timestamptz,
    lock_timeout_ms integer, idle integer
) RETURNS TABLE (write_no integer, last_version bigint, last_position bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    space    bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    recorded timestamptz := coalesce(now_override, clock_timestamp());
    versions bigint[];
    moments  timestamptz[];
    bucket   bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events are appended in READ COMMITTED only: this transaction is %', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM set_config('idle_in_transaction_session_timeout', idle::text, true);

    FOR bucket IN
        SELECT {schema}.fait_type_bucket_1(t) FROM unnest(types) AS t
        UNION
        SELECT {schema}.fait_tag_bucket_1(t) FROM unnest(tags) AS t
        ORDER BY 1
    LOOP
        -- fault: no-locks-for-bulk-append
        PERFORM pg_advisory_xact_lock_shared(space | bucket);
    END LOOP;

    WITH moved AS (
        INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
        SELECT w.stream, w.k, recorded, w.x
        FROM unnest(w_stream, w_expected, w_count) AS w (stream, x, k)
        LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        WHERE w.x = -1 OR w.x = coalesce(s.version, 0) OR (w.x = -2 AND s.stream IS NOT NULL)
        ORDER BY w.stream COLLATE "C"
        ON CONFLICT (stream) DO UPDATE
            SET version = s.version + excluded.version, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
            WHERE excluded.expected IN (s.version, -1, -2)
        RETURNING s.stream, s.version, s.recorded_at
    )
    SELECT array_agg(m.version ORDER BY w.n), array_agg(m.recorded_at ORDER BY w.n) INTO versions, moments
    FROM unnest(w_stream) WITH ORDINALITY AS w (stream, n) JOIN moved AS m ON m.stream = w.stream;
    IF cardinality(versions) IS DISTINCT FROM cardinality(w_stream) THEN
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM pg_temp.fait_append_bulk_1 AS l JOIN {schema}.fait_messages AS e ON e.id = l.id) THEN
        RAISE unique_violation USING MESSAGE = 'an event id is taken';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(
        (space >> 32)::integer, (coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) << 32 >> 32)::integer
    );
    INSERT INTO {schema}.fait_events
        (position, version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags)
    SELECT nextval('{schema}.fait_position'), e.*
    FROM (
        SELECT w.version - w.k + l.place, w.recorded_at, coalesce(l.occurred, w.recorded_at), l.id, l.schema_version, w.stream,
            l.type, l.data, l.metadata, l.tags
        FROM pg_temp.fait_append_bulk_1 AS l
        JOIN unnest(w_stream, w_count, versions, moments) WITH ORDINALITY AS w (stream, k, version, recorded_at, n)
            ON w.n = l.write_no
        ORDER BY l.write_no, l.place
    ) AS e;
    IF cardinality(fait_append_bulk_1.tags) > 0 THEN
        INSERT INTO {schema}.fait_tags (tag, position)
        SELECT DISTINCT hashtextextended(t, 0), e.position
        FROM pg_temp.fait_append_bulk_1 AS l JOIN {schema}.fait_events AS e ON e.id = l.id, unnest(l.tags) AS t;
    END IF;
    RETURN QUERY
    SELECT w.n::integer, w.version, e.position
    FROM unnest(w_stream, versions) WITH ORDINALITY AS w (stream, version, n)
    JOIN {schema}.fait_events AS e ON e.stream = w.stream AND e.version = w.version
    ORDER BY w.n;
END $$;
