-- fait_high_water_mark_1: returns the high-water mark. No event at or below it can appear any more, and every event at
-- or below it is visible to the next statement. 0 for an empty log.
--
-- The problem: positions are drawn from a sequence in one order, and transactions commit in another. A reader that
-- continues after the last position it has seen would skip an event that commits late with a lower position.
--
-- Before an append draws its first position, it acquires a ticket: a shared advisory lock whose key is the sequence's
-- last value at that moment. It holds the ticket until its transaction ends, so all positions of an open append lie
-- above its ticket.
--
--   1. Read the sequence's last value.
--   2. Read the lowest ticket from pg_locks. If there is one, use it instead of the last value.
--   3. Return the position of the last visible event at or below that value.
--
-- Each step is a statement of a VOLATILE function in READ COMMITTED, so it has a snapshot of its own. The sequence must
-- be read before the tickets: an append without a ticket at step 2 has committed (step 3 sees its events), has rolled
-- back, or has yet to draw its positions, which will lie above the value of step 1.
--
-- Step 3 is needed because nextval() is not transactional, and is durable only once a later commit has flushed its WAL
-- record. After a crash the sequence can return numbers again that appends without a commit had drawn, so a mark at
-- such a number would be too high. The commit of an event has made its own number and all lower ones durable. Deleted
-- messages count as visible (fait_log.expired_position): their positions were committed, and without them the mark
-- would decrease.
--
-- Any role that may connect can hold an advisory lock with the key of a ticket. So a ticket counts only if its
-- transaction also has a ROW EXCLUSIVE lock on fait_streams, which requires the privilege to change that table. An append
-- acquires it in step 3, before the ticket, and holds it until its transaction ends or is prepared and then committed;
-- neither SET ROLE nor a later REVOKE affects it. pg_locks is not one snapshot: it can contain a ticket without a lock
-- that its transaction acquired earlier. No event is lost then, because that lock was acquired after step 2 had begun.
-- The append read the sequence later, and thus after step 1, so its positions lie above the value of step 1.
--
-- The mark can be lower than an earlier one: an append may have read the sequence's value for its ticket, but not have
-- acquired the lock yet. Its positions will lie above both marks, so a reader may keep the higher one.
--
-- The calling statement must not select events up to the mark itself: its snapshot can be older than the mark. Use the
-- next statement.

CREATE FUNCTION {schema}.fait_high_water_mark_1(expected_epoch text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    upper_bound   bigint;
    lowest_ticket bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the log cannot be read in a % transaction', current_setting('transaction_isolation')
            USING ERRCODE = 'FA001',
            HINT = 'Use READ COMMITTED. At other levels, a snapshot older than the mark would skip events.';
    END IF;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the log cannot be read on a standby: the locks of open appends are visible only on the primary'
            USING ERRCODE = 'FA002', HINT = 'Connect to the primary.';
    END IF;

    IF NOT {schema}.fait_is_current_1(expected_epoch, NULL) THEN
        PERFORM {schema}.fait_refuse_1(expected_epoch, NULL);
    END IF;

    -- Step 1: the sequence.
    upper_bound := coalesce(pg_sequence_last_value('{schema}.fait_position'), 0);
    -- pg_sequence_last_value() also returns NULL if the role has no privilege on the sequence.
    IF upper_bound = 0 AND NOT has_sequence_privilege('{schema}.fait_position', 'USAGE, SELECT') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for sequence fait_position';
    END IF;

    -- Step 2: the tickets. A key holds the low 32 bits of a value; the difference to the upper bound restores the high
    -- bits, as no transaction stays open for 2^31 events. A ticket above the upper bound was acquired after step 1 and
    -- is not relevant.
    SELECT min(ticket) INTO lowest_ticket
    FROM (
        SELECT min(upper_bound - ((upper_bound - objid::bigint) & 4294967295)) AS ticket
        FROM pg_locks
        WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
            -- fault: mark-ignores-open-appends
            AND (locktype = 'advisory' AND classid = '{schema}.fait_position'::regclass::oid AND objsubid = 2
                AND ((upper_bound - objid::bigint) & 4294967295) < 2147483648
                OR locktype = 'relation' AND relation = '{schema}.fait_streams'::regclass::oid
                AND mode = 'RowExclusiveLock' AND granted)
        GROUP BY virtualtransaction
        -- fault: foreign-lock-holds-mark-back
        HAVING bool_or(locktype = 'relation')
    ) AS appends;
    upper_bound := coalesce(lowest_ticket, upper_bound);

    -- Step 3: the last visible event.
    RETURN greatest(
        -- fault: mark-above-last-event
        (SELECT max(position) FROM {schema}.fait_events WHERE position <= upper_bound),
        (SELECT max(position) FROM {schema}.fait_messages WHERE position <= upper_bound),
        least(upper_bound, (SELECT expired_position FROM {schema}.fait_log)),
        0
    );
END $$;
