-- fait_append_1: appends events to any number of streams in one call and one transaction, and reports a result for each
-- write. A write is the events of one append for one stream.
--
-- Steps. The function is VOLATILE and requires READ COMMITTED, so each statement has a snapshot of its own: a check
-- sees everything that was committed before the locks of the step above it were granted.
--
--   1. Condition locks: advisory locks on buckets of types and tags (see below), in ascending order, each once and in
--      its strongest mode. Exclusive on what the conditions depend on, shared on the types and tags of the new events.
--      They keep a matching event from being committed between the check of a condition and the commit of its append.
--      An append without a condition acquires the shared locks, too; otherwise it could commit in that interval.
--   2. Check the conditions against all visible events. Look up the event ids if `check_ids` is set.
--   3. Streams: for each stream, in the order of names, lock its row in fait_streams, compare the expected version and
--      increase the version. The row lock serializes the appends to a stream; for a new stream, the unique index does.
--      The order prevents deadlocks between appends. Then refuse a log that was restored, failed over or adopted
--      (fait_is_current_1). No adoption comes in between: it waits for the lock on the table fait_streams, which this
--      transaction holds until it ends.
--   4. Ticket: a shared advisory lock on the sequence's last value (see fait_high_water_mark_1). Readers do not pass
--      it. It is acquired after every lock that can block, so that readers wait only for the insert and the commit, and
--      before the first position is drawn. Any role that may connect can hold its key exclusively. The append does not
--      wait for that, but acquires the next lower key that is free: every key below the first position is correct.
--   5. Insert the events and their tags. The unique index of each table covers only that table, so the function has
--      checked before step 4 that no id exists in the other one.
--   6. Find out why writes were rejected. This snapshot includes the transactions that they lost to.
--
-- The locks are released at the end of the transaction.
--
-- Arguments. The arrays of each group have the same length.
--   write_*          writes: stream, expected version (n >= 0: exactly n, -1: any, -2: the stream exists), and number
--                    of events
--   event_*          events: number of the write and number within the write, both from 1, and the columns of
--                    fait_events; the tags of an event are the text of an array. event_occurred_at NULL: as recorded_at
--   query_*          queries of append conditions: number of the write, the position after which no event may match,
--                    and types, tags (texts of arrays) and category, each NULL if the query does not restrict it
--   now_override     recorded_at of the events; NULL: clock_timestamp(). A stream's recorded_at never decreases
--   atomic           true: all writes are one append, and succeed or fail together. false: each write is an append
--   check_ids        look up the event ids in step 2: set it if the append may have been stored before, or if the
--                    transaction must not fail with a unique violation
--   lock_timeout_ms  lock_timeout of the rest of the transaction; NULL: unchanged
--   idle_timeout_ms  idle_in_transaction_session_timeout of the rest of the transaction, unless the session has a
--                    shorter one; NULL: unchanged. For transactions that continue after the call, as readers wait for
--                    their end
--   expected_epoch   the epoch in which the caller opened the log; NULL: any. Nothing is appended in another one
--   known_position   the position of an event that the caller knows; NULL: none. No position up to it is assigned
--
-- A call names each stream once. Without `atomic`, it may name a stream several times with the same expected version n
-- >= 0; at most one of these writes succeeds. A condition must not match an event of another append in the same call:
-- all conditions are checked before the first insert.
--
-- Returns a row for each write, in no particular order:
--   write_no            its number, from 1
--   result              'appended'; 'condition_failed'; or 'conflict': the expected version does not match, or event
--                       ids exist. If neither is the case for any write of the append, a concurrent transaction caused
--                       the conflict: call again
--   last_version        version of the stream, 0 if there is no such stream
--   last_position       appended: position of the write's last event. Rejected: position up to which its conditions
--                       were checked, NULL without conditions
--   existing_events     rejected: the stored events with the same ids, as [{"id", "stream", "version", "position",
--                       "type", "schema_version", "data", "tags"}] with data as text, or NULL
--   conflicting_events  condition_failed: the first 1000 events that match the condition, as an array of objects.
--                       Their times are texts in UTC
--
-- Errors: unique_violation if an event id exists (without check_ids, or appended concurrently), serialization_failure
-- if `atomic` is set and another transaction changed a stream during step 3, lock_not_available after the lock timeout,
-- FA001 for another isolation level than READ COMMITTED, and FA003 if the log was restored, failed over or adopted.
--
-- Settings. PL/pgSQL keeps plans for the session, and the tables grow. enable_seqscan = off: a sequential scan that
-- suits small tables would remain the plan. jit = off: before PostgreSQL 18 a plan that needs a disabled scan counts as
-- very expensive, and would be compiled in each call. plan_cache_mode = force_generic_plan: custom plans for short
-- arrays look cheaper, and are planned in each call.

-- Buckets of condition locks: 0-255 by the hash of a type, 1024-2047 by the hash of a tag. They bound the number of
-- locks. Appends with different types or tags of the same bucket can block each other, although they need not.
CREATE FUNCTION {schema}.fait_type_bucket_1(type text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT hashtextextended(type, 0) & 255';
CREATE FUNCTION {schema}.fait_tag_bucket_1(tag text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT 1024 + (hashtextextended(tag, 0) & 1023)';

-- Whether idle_in_transaction_session_timeout is longer than a limit; 0 means that there is no timeout.
CREATE FUNCTION {schema}.fait_idle_timeout_exceeds_1(limit_ms integer) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_ms = 0 OR current_ms > limit_ms
    FROM (
        SELECT 1000 * extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval) AS current_ms
    ) AS setting
$$;

CREATE FUNCTION {schema}.fait_append_1(
    write_streams text[], write_expected_versions bigint[], write_event_counts integer[],
    event_write_nos integer[], event_nos integer[], event_ids uuid[], event_types text[],
    event_schema_versions integer[], event_data text[], event_metadata text[], event_tags text[] DEFAULT NULL,
    event_occurred_at timestamptz[] DEFAULT NULL, event_expires boolean[] DEFAULT NULL,
    query_write_nos integer[] DEFAULT NULL, query_after bigint[] DEFAULT NULL, query_types text[] DEFAULT NULL,
    query_tags text[] DEFAULT NULL, query_categories text[] DEFAULT NULL,
    now_override timestamptz DEFAULT NULL, atomic boolean DEFAULT false, check_ids boolean DEFAULT false,
    lock_timeout_ms integer DEFAULT NULL, idle_timeout_ms integer DEFAULT NULL, expected_epoch text DEFAULT NULL,
    known_position bigint DEFAULT NULL
) RETURNS TABLE (
    write_no integer, result text, last_version bigint, last_position bigint, existing_events json,
    conflicting_events json
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    -- The high 32 bits of every advisory lock of this log. Condition locks have one bigint key, tickets two integer
    -- keys.
    lock_space       bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    append_time      timestamptz := coalesce(now_override, clock_timestamp());
    failed_writes    integer[] := '{}'; -- their condition does not hold
    duplicate_writes integer[] := '{}'; -- some of their event ids exist
    new_versions     bigint[];          -- by write; NULL if it is rejected
    new_recorded_at  timestamptz[];
    log_head         bigint;
    ticket           bigint;
    bucket           record;
    ignored          text;              -- an assignment is evaluated without a query; PERFORM would run one
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events cannot be appended in a % transaction', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001',
            HINT = 'Use READ COMMITTED. At other levels, conditions and versions would be checked on an old snapshot.';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF lock_timeout_ms IS NOT NULL THEN
        ignored := set_config('lock_timeout', lock_timeout_ms::text, true);
    END IF;
    IF idle_timeout_ms IS NOT NULL AND {schema}.fait_idle_timeout_exceeds_1(idle_timeout_ms) THEN
        PERFORM set_config('idle_in_transaction_session_timeout', idle_timeout_ms::text, true);
    END IF;

    -- Step 1: condition locks. A query depends on its first tag, else on its types, else on all types.
    FOR bucket IN
        SELECT number, bool_or(exclusive) AS exclusive
        FROM (
            -- fault: no-type-locks-for-several
            SELECT {schema}.fait_type_bucket_1(type), false FROM unnest(event_types) AS type
            UNION ALL
            SELECT {schema}.fait_tag_bucket_1(tag), false FROM unnest(event_tags) AS tags, unnest(tags::text[]) AS tag
            UNION ALL
            SELECT {schema}.fait_tag_bucket_1((tags::text[])[1]), true
            FROM unnest(query_tags) AS tags WHERE tags IS NOT NULL
            UNION ALL
            SELECT {schema}.fait_type_bucket_1(type), true
            FROM unnest(query_tags, query_types) AS q (tags, types), unnest(q.types::text[]) AS type
            WHERE q.tags IS NULL
            UNION ALL
            SELECT type_bucket, true
            FROM unnest(query_tags, query_types) AS q (tags, types), generate_series(0, 255) AS type_bucket
            WHERE q.tags IS NULL AND q.types IS NULL
        ) AS needed (number, exclusive)
        GROUP BY number ORDER BY number
    LOOP
        IF bucket.exclusive THEN
            ignored := pg_advisory_xact_lock(lock_space | bucket.number);
        ELSE
            ignored := pg_advisory_xact_lock_shared(lock_space | bucket.number);
        END IF;
    END LOOP;

    -- Step 2: conditions and event ids.
    IF query_write_nos IS NOT NULL THEN
        -- Every matching event is visible now; later ones will have higher positions. The sequence's value cannot be
        -- used instead: it can decrease in a crash.
        log_head := greatest(
            (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
        );
        SELECT coalesce(array_agg(DISTINCT q.write_no), '{}') INTO failed_writes
        FROM unnest(query_write_nos, query_after, query_types, query_tags, query_categories)
            AS q (write_no, after, types, tags, category)
        WHERE CASE WHEN q.tags IS NOT NULL
            THEN (
                SELECT t.position
                FROM {schema}.fait_tags AS t JOIN {schema}.fait_all_events AS e ON e.position = t.position
                WHERE t.tag = hashtextextended((q.tags::text[])[1], 0) AND t.position > q.after
                    AND e.tags @> q.tags::text[]
                    AND (q.types IS NULL OR e.type = ANY (q.types::text[]))
                    AND (q.category IS NULL OR split_part(e.stream, '-', 1) = q.category)
                ORDER BY t.position LIMIT 1
            )
            ELSE (
                SELECT e.position FROM {schema}.fait_all_events AS e
                WHERE e.position > q.after
                    AND (q.types IS NULL OR e.type = ANY (q.types::text[]))
                    AND (q.category IS NULL OR split_part(e.stream, '-', 1) = q.category)
                ORDER BY e.position LIMIT 1
            )
        END IS NOT NULL;
    END IF;
    IF check_ids THEN
        SELECT coalesce(array_agg(DISTINCT e.write_no), '{}') INTO duplicate_writes
        FROM unnest(event_write_nos, event_ids) AS e (write_no, id)
        CROSS JOIN LATERAL (SELECT FROM {schema}.fait_all_events AS a WHERE a.id = e.id LIMIT 1) AS a;
    END IF;

    -- Step 3: streams.
    IF atomic AND (failed_writes <> '{}' OR duplicate_writes <> '{}') THEN
        new_versions := array_fill(NULL::bigint, ARRAY[cardinality(write_streams)]);
    ELSE
        -- Versions are compared twice. `checked` compares them without a lock, so that rejected writes lock and change
        -- nothing. The WHERE clause of ON CONFLICT compares them again with the row locked.
        WITH checked AS (
            SELECT w.*, bool_and(
                    -- fault: exists-null-for-missing-stream
                    (w.expected IN (-1, coalesce(s.version, 0)) OR (w.expected = -2 AND s.stream IS NOT NULL))
                    AND w.number <> ALL (failed_writes) AND w.number <> ALL (duplicate_writes)
                ) OVER (PARTITION BY CASE WHEN atomic THEN 0 ELSE w.number END) AS accepted
            FROM unnest(write_streams, write_expected_versions, write_event_counts)
                WITH ORDINALITY AS w (stream, expected, events, number)
            LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        ), candidates AS (
            SELECT DISTINCT ON (stream COLLATE "C") * FROM checked WHERE accepted ORDER BY stream COLLATE "C", number
        ), updated AS (
            INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
            SELECT stream, events, append_time, expected FROM candidates ORDER BY stream COLLATE "C"
            ON CONFLICT (stream) DO UPDATE
                SET version = s.version + excluded.version, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
                WHERE excluded.expected IN (s.version, -1, -2)
            RETURNING s.stream, s.version, s.recorded_at
        )
        SELECT array_agg(u.version ORDER BY w.number), array_agg(u.recorded_at ORDER BY w.number)
        INTO new_versions, new_recorded_at
        FROM generate_subscripts(write_streams, 1) AS w (number)
        LEFT JOIN (SELECT c.number, u.* FROM candidates AS c JOIN updated AS u ON u.stream = c.stream) AS u
            ON u.number = w.number;
        IF atomic AND array_position(new_versions, NULL) IS NOT NULL AND array_remove(new_versions, NULL) <> '{}' THEN
            RAISE EXCEPTION 'another transaction changed the version of a stream during the append'
                USING ERRCODE = 'serialization_failure', HINT = 'Nothing was appended. Retry the transaction.';
        END IF;
    END IF;

    IF NOT {schema}.fait_is_current_1(expected_epoch, known_position) THEN
        PERFORM {schema}.fait_refuse_1(expected_epoch, known_position);
    END IF;

    IF array_remove(new_versions, NULL) <> '{}' THEN
        IF EXISTS (
            SELECT FROM unnest(event_write_nos, event_ids, event_expires) AS e (write_no, id, expires)
            WHERE new_versions[e.write_no] IS NOT NULL AND CASE WHEN e.expires
                THEN (SELECT a.position FROM {schema}.fait_events AS a WHERE a.id = e.id LIMIT 1)
                ELSE (SELECT a.position FROM {schema}.fait_messages AS a WHERE a.id = e.id LIMIT 1)
            END IS NOT NULL
        ) THEN
            RAISE unique_violation USING MESSAGE = 'an event with the same id exists';
        END IF;
        -- Step 4: the ticket.
        ticket := coalesce(pg_sequence_last_value('{schema}.fait_position'), 0);
        WHILE NOT pg_try_advisory_xact_lock_shared((lock_space >> 32)::integer, (ticket << 32 >> 32)::integer) LOOP
            ticket := ticket - 1;
        END LOOP;
        -- Step 5: events and tags.
        RETURN QUERY
        WITH new_events AS MATERIALIZED (
            SELECT nextval('{schema}.fait_position') AS position, e.*
            FROM (
                SELECT e.write_no, w.version - w.events + e.event_no AS version, w.recorded_at,
                    coalesce(e.occurred_at, w.recorded_at) AS occurred_at, e.id, e.schema_version, w.stream, e.type,
                    octet_length(e.data) + octet_length(e.metadata) + coalesce(octet_length(e.tags), 0) AS size_bytes,
                    e.data::json AS data, e.metadata::json AS metadata, e.tags::text[] AS tags, e.expires
                FROM unnest(event_write_nos, event_nos, event_ids, event_types, event_schema_versions, event_data,
                        event_metadata, event_tags, event_occurred_at, event_expires)
                    WITH ORDINALITY AS e (write_no, event_no, id, type, schema_version, data, metadata, tags,
                        occurred_at, expires, number)
                JOIN unnest(write_streams, write_event_counts, new_versions, new_recorded_at)
                    WITH ORDINALITY AS w (stream, events, version, recorded_at, number) ON w.number = e.write_no
                WHERE w.version IS NOT NULL
                ORDER BY e.number
            ) AS e
        ), insert_events AS (
            INSERT INTO {schema}.fait_events
                (position, version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data,
                metadata, tags)
            SELECT position, version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data,
                metadata, tags
            FROM new_events WHERE expires IS NOT TRUE
        ), insert_messages AS (
            INSERT INTO {schema}.fait_messages
                (position, version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data,
                metadata, tags)
            SELECT position, version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data,
                metadata, tags
            FROM new_events WHERE expires
        ), insert_tags AS (
            INSERT INTO {schema}.fait_tags (tag, position)
            SELECT DISTINCT hashtextextended(tag, 0), position FROM new_events, unnest(tags) AS tag
        )
        SELECT write_no, 'appended', max(version), max(position), NULL::json, NULL::json
        FROM new_events GROUP BY write_no;
    END IF;

    -- Step 6: rejected writes.
    IF array_position(new_versions, NULL) IS NOT NULL THEN
        RETURN QUERY
        SELECT w.number::integer, CASE WHEN w.number = ANY (failed_writes) THEN 'condition_failed' ELSE 'conflict' END,
            coalesce(s.version, 0), log_head,
            (
                SELECT json_agg(
                    json_build_object(
                        'id', a.id, 'stream', a.stream, 'version', a.version, 'position', a.position, 'type', a.type,
                        'schema_version', a.schema_version, 'data', a.data::text, 'tags', coalesce(a.tags, '{}')
                    )
                )
                FROM unnest(event_write_nos, event_ids) AS e (write_no, id)
                CROSS JOIN LATERAL (SELECT * FROM {schema}.fait_all_events AS a WHERE a.id = e.id LIMIT 1) AS a
                WHERE atomic OR e.write_no = w.number
            ),
            CASE WHEN w.number = ANY (failed_writes) THEN (
                SELECT json_agg(row_to_json(matching)) FROM (
                    -- Times are text in UTC: in the zone of the session, a year could be 10000 or BC, and an offset
                    -- could have seconds.
                    SELECT a.position, a.stream, a.version, a.type, a.schema_version, a.id, a.data::text AS data,
                        a.metadata::text AS metadata, coalesce(a.tags, '{}') AS tags,
                        to_char(a.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS recorded_at,
                        -- fault: times-in-session-zone
                        to_char(a.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at
                    FROM {schema}.fait_all_events AS a
                    WHERE EXISTS (
                        SELECT FROM unnest(query_write_nos, query_after, query_types, query_tags, query_categories)
                            AS q (write_no, after, types, tags, category)
                        WHERE q.write_no = w.number AND a.position > q.after
                            AND (q.tags IS NULL OR a.tags @> q.tags::text[])
                            AND (q.types IS NULL OR a.type = ANY (q.types::text[]))
                            AND (q.category IS NULL OR split_part(a.stream, '-', 1) = q.category)
                    )
                        AND a.position > (
                            SELECT min(q.after) FROM unnest(query_write_nos, query_after) AS q (write_no, after)
                            WHERE q.write_no = w.number
                        )
                        AND a.position <= log_head
                    ORDER BY a.position LIMIT 1000
                ) AS matching
            ) END
        FROM unnest(write_streams, new_versions) WITH ORDINALITY AS w (stream, version, number)
        LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        WHERE w.version IS NULL;
    END IF;
END $$;

-- fait_append_one_1: appends one event without a condition: steps 1, 3, 4 and 5 of fait_append_1 with scalar arguments,
-- in about half the time. If the write is rejected, it calls fait_append_1, which reports why.
--
-- Arguments are those of fait_append_1. Returns its one row, with the event's recorded_at and the sum of the revisions of
-- all registrations before it was stored, which are NULL if the write was rejected.
CREATE FUNCTION {schema}.fait_append_one_1(
    stream_name text, expected_version bigint, event_id uuid, event_type text, event_schema_version integer,
    event_data json, event_metadata json, event_tags text[], event_occurred_at timestamptz, event_expires boolean,
    now_override timestamptz, lock_timeout_ms integer, expected_epoch text DEFAULT NULL,
    known_position bigint DEFAULT NULL
) RETURNS TABLE (
    write_no integer, result text, last_version bigint, last_position bigint, existing_events json,
    conflicting_events json, event_recorded_at timestamptz, revisions bigint
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    lock_space       bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    event_size_bytes integer;
    ticket           bigint;
    ignored          text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events cannot be appended in a % transaction', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001',
            HINT = 'Use READ COMMITTED. At other levels, versions would be checked on an old snapshot.';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF lock_timeout_ms IS NOT NULL THEN
        ignored := set_config('lock_timeout', lock_timeout_ms::text, true);
    END IF;

    event_recorded_at := coalesce(now_override, clock_timestamp());

    -- Step 1: condition locks, all of them shared.
    ignored := pg_advisory_xact_lock_shared(lock_space | {schema}.fait_type_bucket_1(event_type));
    IF event_tags IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(lock_space | bucket)
        FROM (
            SELECT DISTINCT {schema}.fait_tag_bucket_1(tag) AS bucket FROM unnest(event_tags) AS tag ORDER BY bucket
        ) AS buckets;
    END IF;
    -- Step 3: the stream.
    IF expected_version IN (0, -1) THEN
        INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
        VALUES (stream_name, 1, event_recorded_at, expected_version)
        ON CONFLICT (stream) DO UPDATE
            SET version = s.version + 1, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
            WHERE excluded.expected = -1
        RETURNING s.version, s.recorded_at INTO last_version, event_recorded_at;
    ELSE
        UPDATE {schema}.fait_streams AS s
        SET version = s.version + 1, recorded_at = greatest(s.recorded_at, event_recorded_at)
        WHERE s.stream = stream_name AND (s.version = expected_version OR expected_version = -2)
        RETURNING s.version, s.recorded_at INTO last_version, event_recorded_at;
    END IF;
    IF last_version IS NULL THEN
        RETURN QUERY
        SELECT f.*, NULL::timestamptz, NULL::bigint
        FROM {schema}.fait_append_1(
            ARRAY[stream_name], ARRAY[expected_version], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[event_id],
            ARRAY[event_type], ARRAY[event_schema_version], ARRAY[event_data::text], ARRAY[event_metadata::text],
            ARRAY[event_tags::text], ARRAY[event_occurred_at], ARRAY[event_expires],
            now_override => now_override, atomic => true, expected_epoch => expected_epoch,
            known_position => known_position
        ) AS f;
        RETURN;
    END IF;
    revisions := (SELECT coalesce(sum(revision), 0) FROM {schema}.fait_subscriptions);
    IF NOT {schema}.fait_is_current_1(expected_epoch, known_position) THEN
        PERFORM {schema}.fait_refuse_1(expected_epoch, known_position);
    END IF;

    -- Step 4: the ticket.
    ticket := coalesce(pg_sequence_last_value('{schema}.fait_position'), 0);
    -- fault: append-waits-for-ticket
    WHILE NOT pg_try_advisory_xact_lock_shared((lock_space >> 32)::integer, (ticket << 32 >> 32)::integer) LOOP
        ticket := ticket - 1;
    END LOOP;
    -- Step 5: the event and its tags.
    event_size_bytes := octet_length(event_data::text) + octet_length(event_metadata::text)
        + coalesce(octet_length(event_tags::text), 0);
    IF event_expires THEN
        INSERT INTO {schema}.fait_messages
            (version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data, metadata, tags)
        SELECT last_version, event_recorded_at, coalesce(event_occurred_at, event_recorded_at), event_id,
            event_schema_version, event_size_bytes, stream_name, event_type, event_data, event_metadata, event_tags
        WHERE NOT EXISTS (SELECT FROM {schema}.fait_events AS a WHERE a.id = event_id)
        RETURNING position INTO last_position;
    ELSE
        INSERT INTO {schema}.fait_events
            (version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data, metadata, tags)
        SELECT last_version, event_recorded_at, coalesce(event_occurred_at, event_recorded_at), event_id,
            event_schema_version, event_size_bytes, stream_name, event_type, event_data, event_metadata, event_tags
        WHERE NOT EXISTS (SELECT FROM {schema}.fait_messages AS a WHERE a.id = event_id)
        RETURNING position INTO last_position;
    END IF;
    IF last_position IS NULL THEN
        RAISE unique_violation USING MESSAGE = 'an event with the same id exists';
    END IF;
    IF event_tags IS NOT NULL THEN
        INSERT INTO {schema}.fait_tags (tag, position)
        SELECT DISTINCT hashtextextended(tag, 0), last_position FROM unnest(event_tags) AS tag;
    END IF;
    write_no := 1;
    result := 'appended';
    RETURN NEXT;
END $$;

-- fait_appended_1: returns the position of an append; raises if it was rejected, so that the statement that has called
-- one of the functions above changes nothing.
CREATE FUNCTION {schema}.fait_appended_1(result text, last_position bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    -- fault: conflict-of-handler-ignored-in-statement
    IF result <> 'appended' THEN
        RAISE serialization_failure USING MESSAGE = 'the append was rejected', HINT = 'Nothing was changed.';
    END IF;
    RETURN last_position;
END $$;
