-- fait_expire_messages_1: deletes messages of one type that are old enough, and their tags, in one transaction.
--
-- Examines the messages in the order of positions, up to the first that is too young. Deletes each of them unless it is
-- the last event of its stream, which keeps the stream's version. No message is deleted that a
-- subscription has not finished: above its position, or from the position of a failed key on. fait_log.expired_position is raised to the highest position that was deleted.
--
-- Arguments
--   message_type     the event type
--   recorded_before  messages recorded at or after this time are too young
--   up_to            the last position to examine
--   after            the position after which to start
--   max_messages     maximum number of messages to examine
--
-- Returns one row:
--   deleted          number of deleted messages
--   examined         number of examined messages
--   last_position    position of the last examined message; NULL if there was none. Continue after it
--
-- The function runs with the rights of its owner, so the role of an application needs no DELETE privilege: with this
-- function it can delete only what every subscription has passed. EXECUTE belongs to roles that append, not to roles
-- that only read.

CREATE FUNCTION {schema}.fait_expire_messages_1(
    message_type text, recorded_before timestamptz, up_to bigint, after bigint, max_messages integer
) RETURNS TABLE (deleted bigint, examined bigint, last_position bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    -- A transaction that creates or resets a range holds this lock in shared mode. Either the next statement sees
    -- the range, or its subscription sees the new expired_position.
    PERFORM pg_advisory_xact_lock(hashtextextended('{schema}.fait_retention', 0));
    PERFORM set_config('fait.maintenance', 'retention', true); -- the append-only triggers check it
    RETURN QUERY
    WITH batch AS MATERIALIZED (
        SELECT e.position, e.stream, e.version, e.recorded_at
        FROM {schema}.fait_messages AS e
        WHERE e.type = message_type AND e.position > after
            AND e.position <= up_to
            -- fault: expire-above-checkpoint-in-postgres
            AND e.position <= coalesce((
                SELECT min(r.position) FROM {schema}.fait_ranges AS r
                JOIN {schema}.fait_subscriptions AS s USING (subscription, generation)
                WHERE s.state <> 'retired' AND s.kind NOT IN ('system', 'consumer')
            ), up_to)
            -- fault: expire-above-failure-in-postgres
            AND e.position <= coalesce((
                SELECT min(f.next_position) - 1 FROM {schema}.fait_failures AS f
                JOIN {schema}.fait_subscriptions AS s USING (subscription, generation) WHERE s.kind <> 'consumer'
            ), up_to)
        ORDER BY e.position
        LIMIT max_messages
    ), old_messages AS MATERIALIZED (
        SELECT b.* FROM batch AS b
        WHERE b.position < coalesce(
            (SELECT min(young.position) FROM batch AS young WHERE young.recorded_at >= recorded_before), b.position + 1
        )
    ), deleted_messages AS (
        DELETE FROM {schema}.fait_messages AS e
        WHERE e.position = ANY (ARRAY(
            SELECT o.position FROM old_messages AS o
            WHERE o.version < (SELECT s.version FROM {schema}.fait_streams AS s WHERE s.stream = o.stream LIMIT 1)
        ))
        RETURNING e.position, e.tags
    ), deleted_tags AS (
        DELETE FROM {schema}.fait_tags
        WHERE ctid = ANY (ARRAY(
            SELECT i.ctid
            FROM deleted_messages AS d, unnest(d.tags) AS u (tag), LATERAL (
                SELECT t.ctid FROM {schema}.fait_tags AS t
                WHERE t.tag = hashtextextended(u.tag, 0) AND t.position = d.position LIMIT 1
            ) AS i
        ))
    ), updated_log AS (
        UPDATE {schema}.fait_log
        SET expired_position = greatest(expired_position, (SELECT max(d.position) FROM deleted_messages AS d))
        WHERE EXISTS (SELECT FROM deleted_messages)
    )
    SELECT (SELECT count(*) FROM deleted_messages), count(*), max(o.position) FROM old_messages AS o;
    PERFORM set_config('fait.maintenance', '', true);
END $$;
REVOKE EXECUTE ON FUNCTION {schema}.fait_expire_messages_1 FROM PUBLIC;
