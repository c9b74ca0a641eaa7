-- fait_append_bulk_1: one append of the events in the session's temporary table pg_temp.fait_append_bulk_1,
-- which the session has filled with COPY (see create_bulk_table.sql). No lock is held while the events are transferred; COPY
-- into fait_events itself would hold the ticket as long as the client sends.
--
-- Steps 1, 3, 4 and 5 of fait_append_1, in the same order and with the same locks. There are no conditions and no
-- expiring events.
--
-- Arguments
--   write_*          as in fait_append_1; the writes succeed or fail together
--   event_types      the types of all events, without duplicates
--   event_tags       the tags of all events, without duplicates
--   now_override     recorded_at of the events; NULL: clock_timestamp()
--   lock_timeout_ms  lock_timeout of the rest of the transaction
--   idle_timeout_ms  idle_in_transaction_session_timeout of the rest of the transaction, as readers wait for its end
--   expected_epoch, known_position  as in fait_append_1
--
-- Returns a row for each write, in order: its number, the version of its stream, and the position of its last event. No
-- row: a stream is not at its expected version; the caller must roll back, as other streams may have been updated.

CREATE FUNCTION {schema}.fait_append_bulk_1(
    write_streams text[], write_expected_versions bigint[], write_event_counts integer[], event_types text[],
    event_tags text[], now_override timestamptz, lock_timeout_ms integer, idle_timeout_ms integer,
    expected_epoch text DEFAULT NULL, known_position bigint DEFAULT NULL
) RETURNS TABLE (write_no integer, last_version bigint, last_position bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    lock_space      bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    append_time     timestamptz := coalesce(now_override, clock_timestamp());
    new_versions    bigint[];
    new_recorded_at timestamptz[];
    bucket          bigint;
    ticket          bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events cannot be appended in a % transaction', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001',
            HINT = 'Use READ COMMITTED. At other levels, versions would be checked on an old snapshot.';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM set_config('idle_in_transaction_session_timeout', idle_timeout_ms::text, true);

    -- Step 1: condition locks, all of them shared.
    FOR bucket IN
        SELECT {schema}.fait_type_bucket_1(type) FROM unnest(event_types) AS type
        UNION
        SELECT {schema}.fait_tag_bucket_1(tag) FROM unnest(event_tags) AS tag
        ORDER BY 1
    LOOP
        -- fault: no-locks-for-bulk-append
        PERFORM pg_advisory_xact_lock_shared(lock_space | bucket);
    END LOOP;

    -- Step 3: streams.
    WITH updated AS (
        INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
        SELECT w.stream, w.events, append_time, w.expected
        FROM unnest(write_streams, write_expected_versions, write_event_counts) AS w (stream, expected, events)
        LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        WHERE w.expected IN (-1, coalesce(s.version, 0)) OR (w.expected = -2 AND s.stream IS NOT NULL)
        ORDER BY w.stream COLLATE "C"
        ON CONFLICT (stream) DO UPDATE
            SET version = s.version + excluded.version, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
            WHERE excluded.expected IN (s.version, -1, -2)
        RETURNING s.stream, s.version, s.recorded_at
    )
    SELECT array_agg(u.version ORDER BY w.number), array_agg(u.recorded_at ORDER BY w.number)
    INTO new_versions, new_recorded_at
    FROM unnest(write_streams) WITH ORDINALITY AS w (stream, number) JOIN updated AS u ON u.stream = w.stream;
    IF cardinality(new_versions) IS DISTINCT FROM cardinality(write_streams) THEN
        RETURN;
    END IF;
    IF NOT {schema}.fait_is_current_1(expected_epoch, known_position) THEN
        PERFORM {schema}.fait_refuse_1(expected_epoch, known_position);
    END IF;

    IF EXISTS (SELECT FROM pg_temp.fait_append_bulk_1 AS l JOIN {schema}.fait_messages AS e ON e.id = l.id) THEN
        RAISE unique_violation USING MESSAGE = 'an event with the same id exists';
    END IF;
    -- Step 4: the ticket.
    ticket := coalesce(pg_sequence_last_value('{schema}.fait_position'), 0);
    WHILE NOT pg_try_advisory_xact_lock_shared((lock_space >> 32)::integer, (ticket << 32 >> 32)::integer) LOOP
        ticket := ticket - 1;
    END LOOP;
    -- Step 5: events and tags.
    INSERT INTO {schema}.fait_events
        (position, version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data, metadata, tags)
    SELECT nextval('{schema}.fait_position'), e.*
    FROM (
        SELECT w.version - w.events + l.event_no, w.recorded_at, coalesce(l.occurred_at, w.recorded_at), l.id,
            l.schema_version,
            octet_length(l.data::text) + octet_length(l.metadata::text) + coalesce(octet_length(l.tags::text), 0),
            w.stream, l.type, l.data, l.metadata, l.tags
        FROM pg_temp.fait_append_bulk_1 AS l
        JOIN unnest(write_streams, write_event_counts, new_versions, new_recorded_at)
            WITH ORDINALITY AS w (stream, events, version, recorded_at, number) ON w.number = l.write_no
        ORDER BY l.write_no, l.event_no
    ) AS e;
    IF cardinality(event_tags) > 0 THEN
        INSERT INTO {schema}.fait_tags (tag, position)
        SELECT DISTINCT hashtextextended(tag, 0), e.position
        FROM pg_temp.fait_append_bulk_1 AS l JOIN {schema}.fait_events AS e ON e.id = l.id, unnest(l.tags) AS tag;
    END IF;
    RETURN QUERY
    SELECT w.number::integer, w.version, e.position
    FROM unnest(write_streams, new_versions) WITH ORDINALITY AS w (stream, version, number)
    JOIN {schema}.fait_events AS e ON e.stream = w.stream AND e.version = w.version
    ORDER BY w.number;
END $$;
