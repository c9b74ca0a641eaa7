-- The high-water mark: no event at or below it will ever come, and all that are there can be seen by the next statement.
--
-- An appender holds a ticket: a shared lock on the number that the sequence stood at before the appender drew its own, until
-- its transaction ends. So every unfinished event lies above some ticket, and what lies at or below the lowest ticket is
-- final. The order of the two steps matters: the sequence first. Whoever has no ticket when the locks are read will draw
-- a number above it.
--
-- It is never above the last event that can be seen. The sequence may be: of numbers whose appends were taken back, and
-- after a crash such numbers are drawn again, since nothing has made them durable. A commit has, for its own and all before.
--
-- It may be a little lower than another one before: of an appender that has read the number for its ticket, and not taken it
-- yet. What comes under that ticket lies above both.
--
-- Messages that were dropped count as if they were there: without them it would go back, and their positions were committed.
--
-- It tells nothing about rows that the calling statement selects: its snapshot may be older. The rows are the next statement's.

CREATE FUNCTION {schema}.fait_high_water_mark_1() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last   bigint;
    lowest bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the log is read in READ COMMITTED only: this transaction is %', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001', HINT = 'In any other isolation its snapshot would be older than the mark, and events would be skipped.';
    END IF;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the log is read from the primary: a standby does not know who is appending' USING ERRCODE = 'FA002';
    END IF;
    last := coalesce(pg_sequence_last_value('{schema}.fait_position'), 0);
    -- Whoever has no right to ask is told the same as of a log in which nothing ever happened.
    IF last = 0 AND NOT has_sequence_privilege('{schema}.fait_position', 'USAGE, SELECT') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for sequence fait_position';
    END IF;
    -- A ticket keeps the low 32 bits of its number; no transaction stays open for 2^31 events. One above `last` was drawn
    -- after the sequence was read: what comes under it lies higher still.
    SELECT min(last - ((last - objid::bigint) & 4294967295)) INTO lowest
    FROM pg_locks
    -- fault: mark-ignores-open-appends
    WHERE locktype = 'advisory' AND classid = '{schema}.fait_position'::regclass::oid AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((last - objid::bigint) & 4294967295) < 2147483648;
    last := coalesce(lowest, last);
    RETURN greatest(
        -- fault: mark-above-last-event
        (SELECT max(position) FROM {schema}.fait_events WHERE position <= last),
        (SELECT max(position) FROM {schema}.fait_messages WHERE position <= last),
        least(last, (SELECT expired_position FROM {schema}.fait_log)),
        0
    );
END $$;
