-- Expire: drop messages of a type that are old enough, with their tags, and note how far that went, in one transaction.
--
-- kind      the type.
-- before    messages recorded before this moment, as far as the first that was not.
-- behind    the last position considered; and none that a checkpoint has not passed.
-- beyond    the position to go on from.
-- most      how many are considered.
--
-- How many were dropped; how many were considered, and the last position of these. The last event of a stream stays.
--
-- It runs with the rights of its owner, so that the application need not be able to delete anything: it can only have
-- dropped here what is behind everybody. Whoever may append may call it; those who only read are not given it.

CREATE FUNCTION {schema}.fait_expire_messages_1(kind text, before timestamptz, behind bigint, beyond bigint, most integer)
RETURNS TABLE (dropped bigint, considered bigint, last_position bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    -- A subscription that starts holds the other side of this lock: either its checkpoint is seen by the next statement, or it
    -- sees what was dropped.
    PERFORM pg_advisory_xact_lock(hashtextextended('{schema}.fait_retention', 0));
    PERFORM set_config('fait.maintenance', 'retention', true);
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT e.position, e.stream, e.version, e.recorded_at
        FROM {schema}.fait_messages AS e
        WHERE e.type = kind AND e.position > beyond
            -- fault: expire-above-checkpoint-in-postgres
            AND e.position <= least(behind, (SELECT min(c.position) FROM {schema}.fait_checkpoints AS c))
        ORDER BY e.position
        LIMIT most
    ), old AS MATERIALIZED (
        SELECT a.* FROM asked AS a
        WHERE a.position < coalesce((SELECT min(y.position) FROM asked AS y WHERE y.recorded_at >= before), a.position + 1)
    ), gone AS (
        DELETE FROM {schema}.fait_messages AS e
        WHERE e.position = ANY (ARRAY(
            SELECT old.position FROM old
            WHERE old.version < (SELECT s.version FROM {schema}.fait_streams AS s WHERE s.stream = old.stream LIMIT 1)
        ))
        RETURNING e.position, e.tags
    ), untagged AS (
        DELETE FROM {schema}.fait_tags
        WHERE ctid = ANY (ARRAY(
            SELECT i.ctid
            FROM gone, unnest(gone.tags) AS u (tag), LATERAL (
                SELECT t.ctid FROM {schema}.fait_tags AS t
                WHERE t.tag = hashtextextended(u.tag, 0) AND t.position = gone.position LIMIT 1
            ) AS i
        ))
    ), noted AS (
        UPDATE {schema}.fait_log SET expired_position = greatest(expired_position, (SELECT max(position) FROM gone))
        WHERE EXISTS (SELECT FROM gone)
    )
    SELECT (SELECT count(*) FROM gone), count(*), max(old.position) FROM old;
    PERFORM set_config('fait.maintenance', '', true);
END $$;
REVOKE EXECUTE ON FUNCTION {schema}.fait_expire_messages_1 FROM PUBLIC;
