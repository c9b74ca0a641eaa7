-- Append: one call for any number of appends, each with its own verdict, in one transaction.
--
-- The order of the steps is what keeps the promises, and each step is a statement with a snapshot of its own:
--   1. locks of conditions: exclusive on what a condition depends on, shared on what is about to be written
--   2. conditions are checked, ids are looked up when asked to
--   3. streams are locked in the order of their names, their versions checked and moved on: here appends wait for each other
--   4. the ticket: after all waiting, so that it is held for as short as can be, and before the first position is drawn
--   5. events and their tags are inserted; no id stands in both tables of events
--   6. who lost is told why
--
-- w_*  a write: its stream, the version it expects (n >= 0 exactly n, -1 any, -2 exists), the number of its events.
-- e_*  an event: the number of its write (from 1), its place in it (from 1), and what is stored. Tags are an array's text.
-- q_*  a query of a condition: the number of its write, the position it knows, and types, tags (arrays' texts) and category.
-- moment    when it is recorded; NULL: now, by the server's clock.
-- whole     all writes are one append, that holds or fails together; else each is an append of its own. A stream stands
--           in one call once, or several times with the same number expected: the first of them may hold. No event of
--           one append in it may be meant by the condition of another.
-- look_up   look for the ids first: for a repetition, or in a transaction that must not fail.
-- patience  how many milliseconds to wait for a lock before the whole call fails; NULL: as the session has it.
-- joined    how many milliseconds the transaction may stand idle from here on, if it may longer; NULL: it ends with this call.
--
-- A plan that is made while the tables are small must do when they have grown: `enable_seqscan` is off, and so is `jit`, which would
-- compile what only looks costly for it. And it is made once in a session: `plan_cache_mode`; the server would take short arrays for
-- a reason to plan anew in every call.
--
-- A row for each write: appended, or lost and why: conflict, or condition with the events that came between. A loser is told
-- which of its ids are stored already.

-- Conditions meet on buckets: 0-255 by the hash of a type, 1024-2047 by the hash of a tag.
CREATE FUNCTION {schema}.fait_type_bucket_1(type text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT hashtextextended(type, 0) & 255';
CREATE FUNCTION {schema}.fait_tag_bucket_1(tag text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT 1024 + (hashtextextended(tag, 0) & 1023)';

-- Whether this transaction may stand idle for longer than so many milliseconds; 0 means for ever.
CREATE FUNCTION {schema}.fait_idle_timeout_exceeds_1(most integer) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT milliseconds = 0 OR milliseconds > most
    FROM (
        SELECT 1000 * extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval) AS milliseconds
    ) AS now
$$;

CREATE FUNCTION {schema}.fait_append_1(
    w_stream text[], w_expected bigint[], w_count integer[],
    e_write integer[], e_place integer[], e_id uuid[], e_type text[], e_schema_version integer[], e_data text[], e_metadata text[],
    e_tags text[] DEFAULT NULL, e_occurred timestamptz[] DEFAULT NULL, e_expires boolean[] DEFAULT NULL,
    q_write integer[] DEFAULT NULL, q_after bigint[] DEFAULT NULL, q_types text[] DEFAULT NULL, q_tags text[] DEFAULT NULL,
    q_category text[] DEFAULT NULL,
    now_override timestamptz DEFAULT NULL, atomic boolean DEFAULT false, check_ids boolean DEFAULT false,
    lock_timeout_ms integer DEFAULT NULL, idle_timeout_ms integer DEFAULT NULL
) RETURNS TABLE (write_no integer, result text, last_version bigint, last_position bigint, existing_events json, conflicting_events json)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    space    bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    recorded timestamptz := coalesce(now_override, clock_timestamp());
    failed   integer[] := '{}';
    known    integer[] := '{}';
    versions bigint[];
    moments  timestamptz[];
    horizon  bigint;
    bucket   record;
    locked   text; -- nothing: but to assign it runs no query, as PERFORM does
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events are appended in READ COMMITTED only: this transaction is %', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001', HINT = 'In any other isolation a condition would be checked on an old snapshot.';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF lock_timeout_ms IS NOT NULL THEN
        locked := set_config('lock_timeout', lock_timeout_ms::text, true);
    END IF;
    IF idle_timeout_ms IS NOT NULL AND {schema}.fait_idle_timeout_exceeds_1(idle_timeout_ms) THEN
        PERFORM set_config('idle_in_transaction_session_timeout', idle_timeout_ms::text, true);
    END IF;

    -- 1
    FOR bucket IN
        SELECT b, bool_or(exclusive) AS exclusive
        FROM (
            -- fault: no-type-locks-for-several
            SELECT {schema}.fait_type_bucket_1(t), false FROM unnest(e_type) AS t
            UNION ALL
            SELECT {schema}.fait_tag_bucket_1(t), false FROM unnest(e_tags) AS a, unnest(a::text[]) AS t
            UNION ALL
            SELECT {schema}.fait_tag_bucket_1((a::text[])[1]), true FROM unnest(q_tags) AS a WHERE a IS NOT NULL
            UNION ALL
            SELECT {schema}.fait_type_bucket_1(t), true
            FROM unnest(q_tags, q_types) AS q (tags, types), unnest(q.types::text[]) AS t WHERE q.tags IS NULL
            UNION ALL
            SELECT every, true
            FROM unnest(q_tags, q_types) AS q (tags, types), generate_series(0, 255) AS every
            WHERE q.tags IS NULL AND q.types IS NULL
        ) AS needed (b, exclusive)
        GROUP BY b ORDER BY b
    LOOP
        IF bucket.exclusive THEN
            locked := pg_advisory_xact_lock(space | bucket.b);
        ELSE
            locked := pg_advisory_xact_lock_shared(space | bucket.b);
        END IF;
    END LOOP;

    -- 2
    IF q_write IS NOT NULL THEN
        -- All that the conditions mean can be seen now, and what will come lies above. (The sequence may be ahead, and fall
        -- back in a crash.)
        horizon := greatest(
            (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
        );
        SELECT coalesce(array_agg(DISTINCT q.w), '{}') INTO failed
        FROM unnest(q_write, q_after, q_types, q_tags, q_category) AS q (w, after, types, tags, category)
        WHERE CASE WHEN q.tags IS NOT NULL
            THEN (
                SELECT t.position FROM {schema}.fait_tags AS t JOIN {schema}.fait_all_events AS e ON e.position = t.position
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
        SELECT coalesce(array_agg(DISTINCT e.w), '{}') INTO known
        FROM unnest(e_write, e_id) AS e (w, i)
        CROSS JOIN LATERAL (SELECT FROM {schema}.fait_all_events AS a WHERE a.id = e.i LIMIT 1) AS a;
    END IF;

    -- 3
    IF atomic AND (failed <> '{}' OR known <> '{}') THEN
        versions := array_fill(NULL::bigint, ARRAY[cardinality(w_stream)]);
    ELSE
        WITH fit AS (
            SELECT w.*, bool_and(
                    -- fault: exists-null-for-missing-stream
                    (w.x = -1 OR w.x = coalesce(s.version, 0) OR (w.x = -2 AND s.stream IS NOT NULL))
                    AND w.n <> ALL (failed) AND w.n <> ALL (known)
                ) OVER (PARTITION BY CASE WHEN atomic THEN 0 ELSE w.n END) AS fits
            FROM unnest(w_stream, w_expected, w_count) WITH ORDINALITY AS w (stream, x, k, n)
            LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        ), first AS (
            SELECT DISTINCT ON (stream COLLATE "C") * FROM fit WHERE fits ORDER BY stream COLLATE "C", n
        ), moved AS (
            INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
            SELECT stream, k, recorded, x FROM first ORDER BY stream COLLATE "C"
            ON CONFLICT (stream) DO UPDATE
                SET version = s.version + excluded.version, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
                WHERE excluded.expected IN (s.version, -1, -2)
            RETURNING s.stream, s.version, s.recorded_at
        )
        SELECT array_agg(m.version ORDER BY w.n), array_agg(m.recorded_at ORDER BY w.n) INTO versions, moments
        FROM generate_subscripts(w_stream, 1) AS w (n)
        LEFT JOIN (SELECT f.n, m.* FROM first AS f JOIN moved AS m ON m.stream = f.stream) AS m ON m.n = w.n;
        IF atomic AND array_position(versions, NULL) IS NOT NULL AND array_remove(versions, NULL) <> '{}' THEN
            RAISE EXCEPTION 'a stream moved between the check and its lock' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    IF array_remove(versions, NULL) <> '{}' THEN
        IF EXISTS (
            SELECT FROM unnest(e_write, e_id, e_expires) AS e (w, i, expires)
            WHERE versions[e.w] IS NOT NULL AND CASE WHEN e.expires
                THEN (SELECT a.position FROM {schema}.fait_events AS a WHERE a.id = e.i LIMIT 1)
                ELSE (SELECT a.position FROM {schema}.fait_messages AS a WHERE a.id = e.i LIMIT 1)
            END IS NOT NULL
        ) THEN
            RAISE unique_violation USING MESSAGE = 'an event id is taken';
        END IF;
        -- 4
        locked := pg_advisory_xact_lock_shared(
            (space >> 32)::integer,
            (coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) << 32 >> 32)::integer
        );
        -- 5
        RETURN QUERY
        WITH new AS MATERIALIZED (
            SELECT nextval('{schema}.fait_position') AS position, e.*
            FROM (
                SELECT e.w, w.version - w.k + e.place AS version, w.recorded_at,
                    coalesce(e.occurred, w.recorded_at) AS occurred_at, e.id, e.schema_version, w.stream, e.type,
                    e.data::json AS data, e.metadata::json AS metadata, e.tags::text[] AS tags, e.expires
                FROM unnest(e_write, e_place, e_id, e_type, e_schema_version, e_data, e_metadata, e_tags, e_occurred, e_expires)
                        WITH ORDINALITY AS e (w, place, id, type, schema_version, data, metadata, tags, occurred, expires, n)
                JOIN unnest(w_stream, w_count, versions, moments)
                        WITH ORDINALITY AS w (stream, k, version, recorded_at, n) ON w.n = e.w
                WHERE w.version IS NOT NULL
                ORDER BY e.n
            ) AS e
        ), kept AS (
            INSERT INTO {schema}.fait_events
                (position, version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags)
            SELECT position, version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags
            FROM new WHERE expires IS NOT TRUE
        ), expiring AS (
            INSERT INTO {schema}.fait_messages
                (position, version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags)
            SELECT position, version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags
            FROM new WHERE expires
        ), tagged AS (
            INSERT INTO {schema}.fait_tags (tag, position)
            SELECT DISTINCT hashtextextended(t, 0), position FROM new, unnest(tags) AS t
        )
        SELECT w, 'appended', max(version), max(position), NULL::json, NULL::json FROM new GROUP BY w;
    END IF;

    -- 6: a new snapshot, which sees whatever beat us
    IF array_position(versions, NULL) IS NOT NULL THEN
        RETURN QUERY
        SELECT w.n::integer, CASE WHEN w.n = ANY (failed) THEN 'condition' ELSE 'conflict' END, coalesce(s.version, 0), horizon,
            (
                SELECT json_agg(json_build_object('id', a.id, 'stream', a.stream, 'version', a.version, 'position', a.position))
                FROM unnest(e_write, e_id) AS e (w, i)
                CROSS JOIN LATERAL (SELECT * FROM {schema}.fait_all_events AS a WHERE a.id = e.i LIMIT 1) AS a
                WHERE atomic OR e.w = w.n
            ),
            CASE WHEN w.n = ANY (failed) THEN (
                SELECT json_agg(row_to_json(b)) FROM (
                    SELECT a.position, a.stream, a.version, a.type, a.schema_version, a.id, a.data::text AS data,
                        a.metadata::text AS metadata, coalesce(a.tags, '{}') AS tags, a.recorded_at, a.occurred_at
                    FROM {schema}.fait_all_events AS a
                    WHERE EXISTS (
                        SELECT FROM unnest(q_write, q_after, q_types, q_tags, q_category) AS q (w, after, types, tags, category)
                        WHERE q.w = w.n AND a.position > q.after
                            AND (q.tags IS NULL OR a.tags @> q.tags::text[])
                            AND (q.types IS NULL OR a.type = ANY (q.types::text[]))
                            AND (q.category IS NULL OR split_part(a.stream, '-', 1) = q.category)
                    )
                        AND a.position > (SELECT min(q.after) FROM unnest(q_write, q_after) AS q (w, after) WHERE q.w = w.n)
                        AND a.position <= horizon
                    ORDER BY a.position LIMIT 1000
                ) AS b
            ) END
        FROM unnest(w_stream, versions) WITH ORDINALITY AS w (stream, version, n)
        LEFT JOIN LATERAL (SELECT * FROM {schema}.fait_streams AS s WHERE s.stream = w.stream LIMIT 1) AS s ON true
        WHERE w.version IS NULL;
    END IF;
END $$;

-- One event without a condition, as most appends are: the same steps in half the time. Whoever loses goes the long way round,
-- which says why.
CREATE FUNCTION {schema}.fait_append_one_1(
    to_stream text, expected_version bigint, event_id uuid, event_type text, event_schema_version integer, event_data json,
    event_metadata json, event_tags text[], occurred timestamptz, expires boolean, now_override timestamptz, lock_timeout_ms integer
) RETURNS TABLE (
    write_no integer, result text, last_version bigint, last_position bigint, existing_events json, conflicting_events json,
    recorded timestamptz
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    space    bigint := '{schema}.fait_position'::regclass::oid::bigint << 32;
    locked   text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events are appended in READ COMMITTED only: this transaction is %', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF lock_timeout_ms IS NOT NULL THEN
        locked := set_config('lock_timeout', lock_timeout_ms::text, true);
    END IF;

    recorded := coalesce(now_override, clock_timestamp());

    -- Steps 1, 3, 4 and 5 of above.
    locked := pg_advisory_xact_lock_shared(space | {schema}.fait_type_bucket_1(event_type));
    IF event_tags IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(space | b)
        FROM (SELECT DISTINCT {schema}.fait_tag_bucket_1(t) AS b FROM unnest(event_tags) AS t ORDER BY b) AS buckets;
    END IF;
    IF expected_version IN (0, -1) THEN
        INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
        VALUES (to_stream, 1, recorded, expected_version)
        ON CONFLICT (stream) DO UPDATE
            SET version = s.version + 1, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
            WHERE excluded.expected = -1
        RETURNING s.version, s.recorded_at INTO last_version, recorded;
    ELSE
        UPDATE {schema}.fait_streams AS s
        SET version = s.version + 1, recorded_at = greatest(s.recorded_at, recorded)
        WHERE s.stream = to_stream AND (s.version = expected_version OR expected_version = -2)
        RETURNING s.version, s.recorded_at INTO last_version, recorded;
    END IF;
    IF last_version IS NULL THEN
        RETURN QUERY
        SELECT f.*, NULL::timestamptz
        FROM {schema}.fait_append_1(
            ARRAY[to_stream], ARRAY[expected_version], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[event_id], ARRAY[event_type],
            ARRAY[event_schema_version], ARRAY[event_data::text], ARRAY[event_metadata::text], ARRAY[event_tags::text],
            ARRAY[occurred], ARRAY[expires], now_override => now_override, atomic => true
        ) AS f;
        RETURN;
    END IF;

    locked := pg_advisory_xact_lock_shared(
        (space >> 32)::integer,
        (coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) << 32 >> 32)::integer
    );
    IF expires THEN
        INSERT INTO {schema}.fait_messages
            (version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags)
        SELECT last_version, recorded, coalesce(occurred, recorded), event_id, event_schema_version, to_stream, event_type, event_data,
            event_metadata, event_tags
        WHERE NOT EXISTS (SELECT FROM {schema}.fait_events AS a WHERE a.id = event_id)
        RETURNING position INTO last_position;
    ELSE
        INSERT INTO {schema}.fait_events
            (version, recorded_at, occurred_at, id, schema_version, stream, type, data, metadata, tags)
        SELECT last_version, recorded, coalesce(occurred, recorded), event_id, event_schema_version, to_stream, event_type, event_data,
            event_metadata, event_tags
        WHERE NOT EXISTS (SELECT FROM {schema}.fait_messages AS a WHERE a.id = event_id)
        RETURNING position INTO last_position;
    END IF;
    IF last_position IS NULL THEN
        RAISE unique_violation USING MESSAGE = 'an event id is taken';
    END IF;
    IF event_tags IS NOT NULL THEN
        INSERT INTO {schema}.fait_tags (tag, position)
        SELECT DISTINCT hashtextextended(t, 0), last_position FROM unnest(event_tags) AS t;
    END IF;
    write_no := 1;
    result := 'appended';
    RETURN NEXT;
END $$;
