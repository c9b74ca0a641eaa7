-- fait_read_tail_1: returns the high-water mark and, if they are within the limits, the events between a position and the
-- mark. A reader at the end of the log needs both, and gets them in one round trip.
--
-- Arguments
--   after       a high-water mark that the caller has read before
--   max_events  maximum number of events
--   max_bytes       maximum size of their data, metadata and tags
--   expected_epoch  the epoch in which the caller opened the log; NULL: any
--
-- Returns at least one row. Each row has the mark, the position of the last visible event (head),
-- fait_log.expired_position, the sum of the revisions of all registrations, and the columns of an event, which are NULL
-- if there is no event, or if the events exceed a limit: then none is returned.
--
-- Steps, each with a snapshot of its own:
--   1. Count the events after `after`. If their positions have no gap, no position up to the last of them is left for
--      an open append, so the last of them is the mark.
--   2. Otherwise (a gap, no event, or too many), call fait_high_water_mark_1.
--   3. Select the events up to the mark. The statement must begin after the mark is known: one that computes the mark
--      itself would miss events that are committed after its snapshot was taken and before it reads the tickets.

CREATE FUNCTION {schema}.fait_read_tail_1(
    after bigint, max_events integer, max_bytes bigint, expected_epoch text DEFAULT NULL
) RETURNS TABLE (
    mark bigint, head bigint, expired_position bigint, revisions bigint,
    "position" bigint, stream text, version bigint, type text, schema_version integer, id text, data json,
    metadata json, tags text[], recorded_at timestamptz, occurred_at timestamptz, size_bytes integer
)
-- fault: jit-not-disabled
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    event_count bigint;
BEGIN
    IF NOT {schema}.fait_is_current_1(expected_epoch, NULL) THEN
        PERFORM {schema}.fait_refuse_1(expected_epoch, NULL);
    END IF;

    -- Step 1: the events.
    SELECT max(position), count(*) INTO mark, event_count
    FROM (
        SELECT position FROM {schema}.fait_all_events WHERE position > after ORDER BY position LIMIT max_events + 1
    ) AS next_events;
    -- Step 2: the mark.
    IF event_count NOT BETWEEN 1 AND max_events OR mark <> after + event_count THEN
        mark := {schema}.fait_high_water_mark_1(expected_epoch);
    END IF;
    -- Step 3: the rows.
    RETURN QUERY
    SELECT fait_read_tail_1.mark,
        greatest(
            (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
        ),
        (SELECT expired_position FROM {schema}.fait_log),
        -- After the mark is known: each change of a registration counts that precedes an event up to the mark.
        (SELECT coalesce(sum(revision), 0) FROM {schema}.fait_subscriptions)::bigint,
        e.position, e.stream, e.version, e.type, e.schema_version, e.id::text, e.data, e.metadata, e.tags,
        e.recorded_at, e.occurred_at, e.size_bytes
    FROM (VALUES (true)) AS always LEFT JOIN (
        SELECT *, count(*) OVER () AS total_events,
            sum(size_bytes) OVER () AS total_bytes
        FROM (
            SELECT * FROM {schema}.fait_all_events
            WHERE position > after AND position <= fait_read_tail_1.mark
            ORDER BY position
            LIMIT max_events + 1
        ) AS next_events
    ) AS e ON e.total_events <= max_events AND e.total_bytes <= max_bytes
    ORDER BY e.position;
END $$;
