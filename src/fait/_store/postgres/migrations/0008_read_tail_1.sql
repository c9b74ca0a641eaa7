-- Tail: the high-water mark, and the events between a position and it, if they are few: who waits for news needs both.
--
-- beyond  the position: a high-water mark.
-- most    how many events there may be.
-- room    how many bytes they may take, as they are stored.
--
-- At least one row, each with the mark, the last position that can be seen at all, and the highest of those that were dropped;
-- without an event if there is none, or if there are more than may be: some of them would be of no use.
--
-- beyond is a mark already: so if the events that follow it have no gap, no number up to the last of them is left for anybody, and
-- that one is the mark, whoever is appending. Tickets are looked at only where there is a gap, nothing new, or more than may be.
--
-- The rows are selected by a statement that begins when the mark is known: by one with it, those would be missed that are
-- committed after it has begun and before it looks for tickets.

CREATE FUNCTION {schema}.fait_read_tail_1(beyond bigint, most integer, room bigint) RETURNS TABLE (
    mark bigint, last bigint, expired_position bigint,
    "position" bigint, stream text, version bigint, type text, schema_version integer, id text, data json, metadata json, tags text[],
    recorded_at timestamptz, occurred_at timestamptz
)
-- fault: jit-not-disabled
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    several bigint;
BEGIN
    SELECT max(position), count(*) INTO mark, several
    FROM (SELECT position FROM {schema}.fait_all_events WHERE position > beyond ORDER BY position LIMIT most + 1) AS few;
    IF several NOT BETWEEN 1 AND most OR mark <> beyond + several THEN
        mark := {schema}.fait_high_water_mark_1();
    END IF;
    RETURN QUERY
    SELECT fait_read_tail_1.mark,
        greatest((SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0),
        (SELECT expired_position FROM {schema}.fait_log),
        e.position, e.stream, e.version, e.type, e.schema_version, e.id::text, e.data, e.metadata, e.tags, e.recorded_at, e.occurred_at
    FROM (VALUES (true)) AS always LEFT JOIN (
        SELECT *, count(*) OVER () AS number, sum(pg_column_size(data) + pg_column_size(metadata)) OVER () AS size
        FROM (
            SELECT * FROM {schema}.fait_all_events
            WHERE position > beyond AND position <= fait_read_tail_1.mark
            ORDER BY position
            LIMIT most + 1
        ) AS few
    ) AS e ON e.number <= most AND e.size <= room
    ORDER BY e.position;
END $$;
